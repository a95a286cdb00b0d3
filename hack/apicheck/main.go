// Command apicheck prints, as JSON, what the upstream Go modules declare of the protocols in api/: for each message its
// fields, for each enum its values, for each service its methods. hack/check-api compares that with our own protos.
package main

import (
	"encoding/json"
	"os"

	taskevents "github.com/containerd/containerd/api/events"
	bootstrap "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	taskv3 "github.com/containerd/containerd/api/runtime/task/v3"
	forward "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	nri "github.com/containerd/nri/pkg/api"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type field struct {
	Number int    `json:"number"`
	Type   string `json:"type"`
	Label  string `json:"label"` // "", "optional", "repeated" or "map"
}

type method struct {
	Input, Output string
	Stream        bool
}

type declared struct {
	Messages map[string]map[string]field  `json:"messages"`
	Enums    map[string]map[string]int    `json:"enums"`
	Services map[string]map[string]method `json:"services"`
}

func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map<" + typeOf(f.MapKey()) + "," + typeOf(f.MapValue()) + ">"
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func labelOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map"
	case f.IsList():
		return "repeated"
	case f.HasOptionalKeyword():
		return "optional"
	}
	return ""
}

func (d *declared) enums(list protoreflect.EnumDescriptors) {
	for i := range list.Len() {
		values := map[string]int{}
		for j := range list.Get(i).Values().Len() {
			v := list.Get(i).Values().Get(j)
			values[string(v.Name())] = int(v.Number())
		}
		d.Enums[string(list.Get(i).FullName())] = values
	}
}

func (d *declared) messages(list protoreflect.MessageDescriptors) {
	for i := range list.Len() {
		m := list.Get(i)
		if m.IsMapEntry() {
			continue
		}
		fields := map[string]field{}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			fields[string(f.Name())] = field{int(f.Number()), typeOf(f), labelOf(f)}
		}
		d.Messages[string(m.FullName())] = fields
		d.messages(m.Messages())
		d.enums(m.Enums())
	}
}

func main() {
	all := declared{map[string]map[string]field{}, map[string]map[string]int{}, map[string]map[string]method{}}
	for _, file := range []protoreflect.FileDescriptor{
		cri.File_staging_src_k8s_io_cri_api_pkg_apis_runtime_v1_api_proto,
		taskv2.File_runtime_task_v2_shim_proto,
		taskv3.File_runtime_task_v3_shim_proto,
		taskevents.File_events_task_proto,
		forward.File_services_ttrpc_events_v1_events_proto,
		types.File_types_event_proto,
		types.File_types_mount_proto,
		tasktypes.File_types_task_task_proto,
		runcoptions.File_types_runc_options_oci_proto,
		bootstrap.File_runtime_bootstrap_v1_bootstrap_proto,
		rpcstatus.File_google_rpc_status_proto,
		nri.File_pkg_api_api_proto,
	} {
		all.messages(file.Messages())
		all.enums(file.Enums())
		for i := range file.Services().Len() {
			methods := map[string]method{}
			for j := range file.Services().Get(i).Methods().Len() {
				m := file.Services().Get(i).Methods().Get(j)
				methods[string(m.Name())] = method{string(m.Input().FullName()), string(m.Output().FullName()), m.IsStreamingServer()}
			}
			all.Services[string(file.Services().Get(i).FullName())] = methods
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		panic(err)
	}
}
