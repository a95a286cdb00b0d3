package main

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	e2e   = "registry.k8s.io/e2e-test-images/"
	tools = "gcr.io/k8s-staging-cri-tools/"
	ecr   = "public.ecr.aws/docker/library/"
)

// catalogue is what critest 1.37 pulls, what `npm start` and the end-to-end tests use, and the images of synthetic.go.
func catalogue(p *packer) ([]entry, error) {
	var entries []entry
	var failed error
	check := func(err error) {
		if err != nil && failed == nil {
			failed = err
		}
	}
	single := func(references ...string) func(v1.Image, error) {
		return func(made v1.Image, err error) {
			check(err)
			entries = append(entries, entry{references: references, image: made})
		}
	}
	part := func(name string) *blobLayer {
		layer, err := p.tree(name)
		check(err)
		if layer == nil {
			return &blobLayer{}
		}
		return layer
	}
	busybox, web := part("busybox"), part("web")
	shell := v1.Config{Cmd: []string{"sh"}}

	// The two that everything uses are indexes, as upstream's are: one with Docker's media types, one with OCI's.
	plain, err := dockerImage(shell, busybox)
	check(err)
	index, err := multiArch(types.DockerManifestList, plain, shell, busybox.withMediaType(types.DockerLayer))
	check(err)
	entries = append(entries, entry{references: []string{e2e + "busybox:1.29-2", "docker.io/library/busybox:latest", "docker.io/library/busybox:1.35"}, index: index})

	server := func(name, port string, log ...string) v1.Config {
		return v1.Config{
			Entrypoint:   []string{"/usr/sbin/" + name},
			Env:          append([]string{path, "PORT=" + port}, log...),
			ExposedPorts: map[string]struct{}{port + "/tcp": {}},
			StopSignal:   "SIGQUIT",
		}
	}
	nginx, err := image(server("nginx", "80"), busybox, web)
	check(err)
	index, err = multiArch(types.OCIImageIndex, nginx, server("nginx", "80"), busybox, web)
	check(err)
	entries = append(entries, entry{references: []string{e2e + "nginx:1.14-2", "docker.io/library/nginx:latest"}, index: index})

	single(e2e + "httpd:2.4.39-4")(dockerImage(server("httpd", "80"), busybox, web))
	single(tools + "hostnet-nginx-amd64:latest")(dockerImage(server("nginx", "12003"), busybox, web))
	single(e2e + "nonewprivs:1.3")(dockerImage(v1.Config{Entrypoint: []string{"/nonewprivs"}}, part("nonewprivs")))

	pause := part("pause")
	pauseConfig := func(version string) v1.Config {
		return v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535", WorkingDir: "/", Labels: map[string]string{"version": version}}
	}
	single("registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9")(dockerImage(pauseConfig("3.9"), pause))
	single("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10.2")(dockerImage(pauseConfig("3.10.2"), pause))

	for name, user := range map[string]string{"uid": "1002", "username": "www-data", "uid-group": "1003:users", "username-group": "www-data:100"} {
		single(tools + "test-image-user-" + name + ":latest")(dockerImage(v1.Config{Cmd: []string{"sh"}, User: user}, busybox))
	}
	group, err := p.files(
		[2]string{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\ndefault-user:x:1000:1000::/home/default-user:/bin/sh\n"},
		[2]string{"etc/group", "root:x:0:\nnogroup:x:65534:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"},
	)
	check(err)
	if group != nil {
		single(tools + "test-image-predefined-group:latest")(dockerImage(v1.Config{Cmd: []string{"sh"}, User: "1000"}, busybox, group))
	}

	// Each of another config digest: a file named after it is what upstream adds.
	named := func(name string, references ...string) {
		layer, err := p.files([2]string{name, name + "\n"})
		check(err)
		if layer != nil {
			single(references...)(dockerImage(shell, busybox, layer))
		}
	}
	named("test-image-latest", tools+"test-image-latest:latest")
	named("test-image-digest", tools+"test-image-digest:latest")
	named("test-image-tag", tools+"test-image-tag:test")
	named("test-image-tag-all", tools+"test-image-tag:all")
	for n := 1; n <= 3; n++ {
		named(fmt.Sprintf("test-image-%d", n), fmt.Sprintf("%stest-image-%d:latest", tools, n))
	}
	named("test-image-tags", tools+"test-image-tags:1", tools+"test-image-tags:2", tools+"test-image-tags:3")

	for _, tag := range []string{"1.35.0-glibc", "1-uclibc", "1", "1-glibc", "1-musl"} {
		named("busybox-"+tag, ecr+"busybox:"+tag)
	}

	if failed != nil {
		return nil, failed
	}
	more, err := synthetic(p, busybox)
	return append(entries, more...), err
}
