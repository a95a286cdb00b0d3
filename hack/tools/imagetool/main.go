// imagetool packs the test images of crid and pushes them to a registry on loopback.
//
//	imagetool push -registry 127.0.0.1:PORT -parts DIR -list FILE [-big | -images FILE]
//
// parts holds what hack/images built: busybox/, web/, pause/, nonewprivs/, each a root file system. list gets a JSON object
// of every pushed reference and its digest. With -images it pushes what that JSON file describes, instead of the test images.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "push" {
		fmt.Fprintln(os.Stderr, "usage: imagetool push -registry HOST:PORT -parts DIR -list FILE [-big | -images FILE]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet("push", flag.ExitOnError)
	registry := flags.String("registry", "", "address of the registry, plain HTTP")
	parts := flags.String("parts", "", "folder of the root file systems")
	list := flags.String("list", "", "file that gets the references and digests")
	big := flags.Bool("big", false, "push only the big image for the benchmarks")
	described := flags.String("images", "", "push the images that this JSON file describes, and only them")
	_ = flags.Parse(os.Args[2:])
	images := catalogue
	if *big {
		images = bigCatalogue
	}
	if *described != "" {
		images = listFile(*described)
	}
	if err := push(*registry, *parts, *list, images); err != nil {
		fmt.Fprintln(os.Stderr, "imagetool:", err)
		os.Exit(1)
	}
}

func push(registry, parts, list string, images func(*packer) ([]entry, error)) error {
	scratch, err := os.MkdirTemp("", "imagetool-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	entries, err := images(&packer{parts: parts, scratch: scratch, trees: map[string]*blobLayer{}})
	if err != nil {
		return err
	}

	digests := map[string]string{}
	if text, err := os.ReadFile(list); err == nil {
		if err := json.Unmarshal(text, &digests); err != nil {
			return fmt.Errorf("%s: %w", list, err)
		}
	}
	for _, entry := range entries {
		for _, reference := range entry.references {
			digest, err := pushOne(registry, reference, entry)
			if err != nil {
				return fmt.Errorf("%s: %w", reference, err)
			}
			digests[reference] = digest.String()
		}
	}
	text, err := json.MarshalIndent(digests, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(list, append(text, '\n'), 0o644); err != nil {
		return err
	}
	names := make([]string, 0, len(digests))
	for reference := range digests {
		names = append(names, reference)
	}
	sort.Strings(names)
	fmt.Println(len(names), "images")
	return nil
}

// pushOne pushes under the reference's own repository path: that is what a mirror of its registry is asked for.
func pushOne(registry, reference string, entry entry) (v1.Hash, error) {
	full, err := name.ParseReference(reference)
	if err != nil {
		return v1.Hash{}, err
	}
	target, err := name.ParseReference(fmt.Sprintf("%s/%s:%s", registry, full.Context().RepositoryStr(), full.Identifier()), name.Insecure)
	if err != nil {
		return v1.Hash{}, err
	}
	if entry.index != nil {
		if err := remote.WriteIndex(target, entry.index); err != nil {
			return v1.Hash{}, err
		}
		return entry.index.Digest()
	}
	if err := remote.Write(target, entry.image); err != nil {
		return v1.Hash{}, err
	}
	return entry.image.Digest()
}
