// Command plugin is a CNI plugin that stands in for flannel's: it makes a bridge with the range that flanneld has written to
// /run/flannel/subnet.env, by handing a configuration for it to the bridge plugin. What it handed over is kept for the DEL, as the file may
// be another by then.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

const (
	subnetFile = "/run/flannel/subnet.env"
	kept       = "/var/lib/cni/flannel"
)

type configuration struct {
	types.NetConf
	Delegate map[string]any `json:"delegate"`
}

type subnet struct {
	network, own string
	mtu          int
	masquerade   bool
}

func readSubnet() (subnet, error) {
	file, err := os.Open(subnetFile)
	if err != nil {
		return subnet{}, fmt.Errorf("flanneld has not written its subnet yet: %w", err)
	}
	defer file.Close()
	var found subnet
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch key {
		case "FLANNEL_NETWORK":
			found.network = value
		case "FLANNEL_SUBNET":
			_, network, err := net.ParseCIDR(value)
			if err != nil {
				return subnet{}, fmt.Errorf("%s: %w", subnetFile, err)
			}
			found.own = network.String()
		case "FLANNEL_MTU":
			if found.mtu, err = strconv.Atoi(value); err != nil {
				return subnet{}, fmt.Errorf("%s: %w", subnetFile, err)
			}
		case "FLANNEL_IPMASQ":
			found.masquerade = value == "true"
		}
	}
	if found.own == "" || found.network == "" {
		return subnet{}, fmt.Errorf("%s names no subnet", subnetFile)
	}
	return found, nil
}

func add(args *skel.CmdArgs) error {
	var given configuration
	if err := json.Unmarshal(args.StdinData, &given); err != nil {
		return err
	}
	range_, err := readSubnet()
	if err != nil {
		return err
	}
	bridge := map[string]any{"type": "bridge", "bridge": "cni0", "ipMasq": !range_.masquerade, "mtu": range_.mtu}
	for key, value := range given.Delegate {
		bridge[key] = value
	}
	bridge["name"] = given.Name
	bridge["cniVersion"] = given.CNIVersion
	bridge["ipam"] = map[string]any{
		"type":   "host-local",
		"ranges": []any{[]any{map[string]any{"subnet": range_.own}}},
		"routes": []any{map[string]any{"dst": range_.network}},
	}
	text, err := json.Marshal(bridge)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(kept, args.ContainerID), text, 0o600); err != nil {
		return err
	}
	result, err := invoke.DelegateAdd(context.TODO(), "bridge", text, nil)
	if err != nil {
		return err
	}
	return types.PrintResult(result, given.CNIVersion)
}

func del(args *skel.CmdArgs) error {
	file := filepath.Join(kept, args.ContainerID)
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return err
	}
	if err := invoke.DelegateDel(context.TODO(), "bridge", text, nil); err != nil {
		return err
	}
	return os.Remove(file)
}

func check(args *skel.CmdArgs) error {
	text, err := os.ReadFile(filepath.Join(kept, args.ContainerID))
	if err != nil {
		return err
	}
	return invoke.DelegateCheck(context.TODO(), "bridge", text, nil)
}

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: del, Check: check}, version.All, "stands in for flannel's plugin")
}
