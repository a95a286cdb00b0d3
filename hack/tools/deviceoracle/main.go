// deviceoracle answers questions with the libraries that containerd uses for devices: the Go library of the Container Device
// Interface, and goresctrl for block I/O classes. The tests of src/cdi, src/oci and src/blockio compare crid with it.
//
//	deviceoracle                one JSON request a line on stdin, one JSON answer a line on stdout
//	deviceoracle extract DIR    the CDI specs in the test sources of the CDI module at DIR, as a JSON list of strings
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/intel/goresctrl/pkg/blockio"
	oci "github.com/opencontainers/runtime-spec/specs-go"
	"k8s.io/apimachinery/pkg/api/resource"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	names "tags.cncf.io/container-device-interface/pkg/parser"
)

type request struct {
	Op      string
	Text    string
	Dirs    []string
	Devices []string
	Spec    *oci.Spec
}

type answer struct {
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
	Result any    `json:"result,omitempty"`
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "extract" {
		if err := extract(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "deviceoracle:", err)
			os.Exit(1)
		}
		return
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		if err := out.Encode(handle(in.Bytes())); err != nil {
			os.Exit(1)
		}
	}
}

// handle turns a panic of a library into a refusal: some of them are not prepared for null entries.
func handle(line []byte) (reply answer) {
	defer func() {
		if panicked := recover(); panicked != nil {
			reply = answer{Error: fmt.Sprint("panic: ", panicked)}
		}
	}()
	var req request
	if err := json.Unmarshal(line, &req); err != nil {
		return answer{Error: err.Error()}
	}
	result, err := req.result()
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{OK: true, Result: result}
}

func (req request) result() (any, error) {
	switch req.Op {
	case "name":
		vendor, class, name, err := names.ParseQualifiedName(req.Text)
		return []string{vendor, class, name}, err
	case "spec":
		return readSpec(req.Text)
	case "inject":
		cache, err := cdi.NewCache(cdi.WithSpecDirs(req.Dirs...), cdi.WithAutoRefresh(false))
		if err != nil {
			return nil, err
		}
		_, err = cache.InjectDevices(req.Spec, req.Devices...)
		return req.Spec, err
	case "devices":
		cache, err := cdi.NewCache(cdi.WithSpecDirs(req.Dirs...), cdi.WithAutoRefresh(false))
		if err != nil {
			return nil, err
		}
		return cache.ListDevices(), nil
	case "quantity":
		quantity, err := resource.ParseQuantity(req.Text)
		return strconv.FormatInt(quantity.Value(), 10), err
	case "blockio":
		return blockIO(req.Text)
	}
	return nil, fmt.Errorf("unknown op %q", req.Op)
}

func readSpec(text string) ([]string, error) {
	dir, err := os.MkdirTemp("", "deviceoracle")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "spec.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	spec, err := cdi.ReadSpec(path, 0)
	if err != nil {
		return nil, err
	}
	devices := []string{}
	for _, device := range spec.Devices {
		devices = append(devices, spec.GetDevice(device.Name).GetQualifiedName())
	}
	return devices, nil
}

// blockIO takes all classes of a configuration; an error in one of them refuses all.
func blockIO(config string) (map[string]*oci.LinuxBlockIO, error) {
	if err := blockio.SetConfigFromData([]byte(config), false); err != nil {
		return nil, err
	}
	classes := map[string]*oci.LinuxBlockIO{}
	for _, name := range blockio.GetClasses() {
		class, err := blockio.OciLinuxBlockIO(name)
		if err != nil {
			return nil, err
		}
		classes[name] = class
	}
	return classes, nil
}

func extract(dir string) error {
	sources, err := filepath.Glob(filepath.Join(dir, "pkg/cdi/*_test.go"))
	if err != nil {
		return err
	}
	specs := []string{}
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING && strings.HasPrefix(literal.Value, "`\n") {
				specs = append(specs, strings.Trim(literal.Value, "`"))
			}
			return true
		})
	}
	if len(specs) == 0 {
		return fmt.Errorf("no specs in the test sources of %s", dir)
	}
	return json.NewEncoder(os.Stdout).Encode(specs)
}
