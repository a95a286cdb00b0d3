package main

import (
	"encoding/json"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// listed is one image of a list file: layers are names of parts, the lowest first.
type listed struct {
	References []string `json:"references"`
	Layers     []string `json:"layers"`
	Entrypoint []string `json:"entrypoint"`
	Cmd        []string `json:"cmd"`
	User       string   `json:"user"`
	WorkingDir string   `json:"workingDir"`
	Env        []string `json:"env"`
	Ports      []string `json:"ports"`
	StopSignal string   `json:"stopSignal"`
}

// listFile is a catalogue that a JSON file describes.
func listFile(file string) func(*packer) ([]entry, error) {
	return func(p *packer) ([]entry, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var images []listed
		if err := json.Unmarshal(text, &images); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var entries []entry
		for _, image := range images {
			made, err := image.build(p)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", image.References, err)
			}
			entries = append(entries, entry{references: image.References, image: made})
		}
		return entries, nil
	}
}

func (l listed) build(p *packer) (v1.Image, error) {
	config := v1.Config{
		Entrypoint: l.Entrypoint, Cmd: l.Cmd, User: l.User, WorkingDir: l.WorkingDir, StopSignal: l.StopSignal,
		Env: append([]string{path}, l.Env...), ExposedPorts: map[string]struct{}{},
	}
	for _, port := range l.Ports {
		config.ExposedPorts[port] = struct{}{}
	}
	var layers []*blobLayer
	for _, part := range l.Layers {
		layer, err := p.tree(part)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	return dockerImage(config, layers...)
}
