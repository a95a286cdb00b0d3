package main

import (
	"archive/tar"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entry is an image, or an index of images, and the references that it gets.
type entry struct {
	references []string
	image      v1.Image
	index      v1.ImageIndex
}

// packer makes layers and images; a layer of the same part is packed once.
type packer struct {
	parts, scratch string
	trees          map[string]*blobLayer
}

// tree is a part's root file system as a gzip layer.
func (p *packer) tree(part string) (*blobLayer, error) { return p.treeAs(part, withGzip) }

func (p *packer) treeAs(part string, how compression) (*blobLayer, error) {
	key := part + string(rune('0'+int(how)))
	if layer, ok := p.trees[key]; ok {
		return layer, nil
	}
	layer, err := writeLayer(p.scratch, how, func(out *tar.Writer) error { return addTree(out, filepath.Join(p.parts, part)) })
	if err == nil {
		p.trees[key] = layer
	}
	return layer, err
}

// files is a layer of a few small files: path to content.
func (p *packer) files(files ...[2]string) (*blobLayer, error) {
	return writeLayer(p.scratch, withGzip, func(out *tar.Writer) error {
		for _, file := range files {
			if err := add(out, tar.Header{Name: file[0]}, file[1]); err != nil {
				return err
			}
		}
		return nil
	})
}

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// image builds an OCI image of these layers for linux/amd64.
func image(config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	return imageFor(v1.Platform{OS: "linux", Architecture: "amd64"}, config, layers...)
}

func imageFor(platform v1.Platform, config v1.Config, layers ...v1.Layer) (v1.Image, error) {
	if config.Env == nil {
		config.Env = []string{path}
	}
	var addenda []mutate.Addendum
	for _, layer := range layers {
		mediaType, err := layer.MediaType()
		if err != nil {
			return nil, err
		}
		addenda = append(addenda, mutate.Addendum{Layer: layer, MediaType: mediaType, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "imagetool"}})
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	result, err := mutate.Append(base, addenda...)
	if err != nil {
		return nil, err
	}
	file, err := result.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = platform.OS, platform.Architecture, platform.Variant
	file.Created, file.Config = v1.Time{Time: epoch}, config
	return mutate.ConfigFile(result, file)
}

// dockerImage is the same with Docker's media types, which most images in the wild have.
func dockerImage(config v1.Config, layers ...*blobLayer) (v1.Image, error) {
	converted := make([]v1.Layer, 0, len(layers))
	for _, layer := range layers {
		converted = append(converted, layer.withMediaType(types.DockerLayer))
	}
	result, err := image(config, converted...)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigMediaType(mutate.MediaType(result, types.DockerManifestSchema2), types.DockerConfigJSON), nil
}

// multiArch is an index that lists a foreign platform before ours, so that taking the first is wrong.
func multiArch(mediaType types.MediaType, ours v1.Image, config v1.Config, layers ...v1.Layer) (v1.ImageIndex, error) {
	arm := v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	config.Labels = map[string]string{"arch": "arm64"}
	foreign, err := imageFor(arm, config, layers...)
	if err != nil {
		return nil, err
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, mediaType),
		mutate.IndexAddendum{Add: foreign, Descriptor: v1.Descriptor{Platform: &arm}},
		mutate.IndexAddendum{Add: ours, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
	), nil
}
