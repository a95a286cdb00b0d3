package main

import (
	"archive/tar"
	"fmt"
	"math/rand"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

const own = "docker.io/crid/"

// synthetic is images that try an unpacker and an image configuration; each can be run, as busybox is below.
func synthetic(p *packer, busybox *blobLayer) ([]entry, error) {
	var entries []entry
	for _, make := range []func(*packer, *blobLayer) (v1.Image, string, error){layered, twenty, zstdLayer, tarLayer, configured, wrongDiffID, escaping} {
		image, reference, err := make(p, busybox)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{references: []string{own + reference}, image: image})
	}
	return entries, nil
}

// layered has what layers can do to each other, and all kinds of entries. /want lists what must be seen, line by line for
// `sh -e`: a container whose command is /want exits 0 when its root file system is right.
func layered(p *packer, busybox *blobLayer) (v1.Image, string, error) {
	dir := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
	lower, err := writeLayer(p.scratch, withGzip, func(out *tar.Writer) error {
		return first(
			add(out, dir("t/"), ""), add(out, dir("t/opaque/"), ""), add(out, dir("t/dir-to-file/"), ""), add(out, dir("t/gone-dir/"), ""),
			add(out, tar.Header{Name: "t/gone"}, "lower"), add(out, tar.Header{Name: "t/kept"}, "lower"), add(out, tar.Header{Name: "t/changed"}, "lower"),
			add(out, tar.Header{Name: "t/opaque/hidden"}, "lower"), add(out, tar.Header{Name: "t/dir-to-file/x"}, "lower"),
			add(out, tar.Header{Name: "t/gone-dir/x"}, "lower"), add(out, tar.Header{Name: "t/file-to-dir"}, "lower"),
			add(out, tar.Header{Name: "t/link-a"}, "linked"), add(out, tar.Header{Name: "t/link-b", Typeflag: tar.TypeLink, Linkname: "t/link-a"}, ""),
			add(out, tar.Header{Name: "t/symlink", Typeflag: tar.TypeSymlink, Linkname: "/t/kept"}, ""),
		)
	})
	if err != nil {
		return nil, "", err
	}
	upper, err := writeLayer(p.scratch, withGzip, func(out *tar.Writer) error {
		return first(
			add(out, dir("t/"), ""),
			add(out, tar.Header{Name: "t/.wh.gone"}, ""), add(out, tar.Header{Name: "t/.wh.gone-dir"}, ""),
			add(out, dir("t/opaque/"), ""), add(out, tar.Header{Name: "t/opaque/.wh..wh..opq"}, ""), add(out, tar.Header{Name: "t/opaque/new"}, "upper"),
			add(out, tar.Header{Name: "t/changed"}, "upper"), add(out, tar.Header{Name: "t/dir-to-file"}, "upper"),
			add(out, dir("t/file-to-dir/"), ""), add(out, tar.Header{Name: "t/file-to-dir/x"}, "upper"),
			add(out, tar.Header{Name: "t/setuid", Mode: 0o4755}, "x"), add(out, tar.Header{Name: "t/owned", Uid: 1234, Gid: 2_000_000_000, Mode: 0o640}, "x"),
			add(out, tar.Header{Name: "t/capable", Mode: 0o755, PAXRecords: map[string]string{
				// cap_net_raw and cap_setuid, effective, revision 2: has bytes that are no UTF-8.
				"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x80\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
				"SCHILY.xattr.user.crid":           "yes",
			}}, "x"),
			add(out, tar.Header{Name: "t/fifo", Typeflag: tar.TypeFifo}, ""),
			add(out, tar.Header{Name: "t/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, ""),
			add(out, tar.Header{Name: "t/block", Typeflag: tar.TypeBlock, Devmajor: 7, Devminor: 200}, ""),
			add(out, tar.Header{Name: "t/old", ModTime: time.Date(1999, 12, 31, 23, 59, 58, 987654321, time.UTC), Format: tar.FormatPAX}, "x"),
			add(out, tar.Header{Name: "t/" + strings.Repeat("long-", 40) + "name/" + strings.Repeat("x", 200)}, "long"),
			add(out, tar.Header{Name: "t/latin1-\xe9", Format: tar.FormatGNU}, "name"),
			add(out, tar.Header{Name: "t/empty"}, ""),
			add(out, tar.Header{Name: "want", Mode: 0o755}, want),
		)
	})
	if err != nil {
		return nil, "", err
	}
	image, err := image(v1.Config{Cmd: []string{"/want"}}, busybox, lower, upper)
	return image, "layers:1", err
}

const want = `#!/bin/sh -e
fail() { echo "wrong: $*"; exit 1; }
cd /t
[ ! -e gone ] || fail gone
[ ! -e gone-dir ] || fail gone-dir
[ "$(ls opaque)" = new ] || fail opaque
[ "$(cat kept)" = lower ] || fail kept
[ "$(cat changed)" = upper ] || fail changed
[ "$(cat dir-to-file)" = upper ] || fail dir-to-file
[ "$(cat file-to-dir/x)" = upper ] || fail file-to-dir
[ "$(stat -c %i link-a)" = "$(stat -c %i link-b)" ] || fail hard link
[ "$(cat symlink)" = lower ] || fail symlink
[ "$(stat -c %a setuid)" = 4755 ] || fail setuid
[ "$(stat -c %u:%g:%a owned)" = 1234:2000000000:640 ] || fail owned
[ -p fifo ] || fail fifo
[ "$(stat -c %t:%T null)" = 1:3 ] || fail null
[ "$(stat -c %t:%T block)" = 7:c8 ] || fail block
[ "$(stat -c %Y old)" = 946684798 ] || fail old
[ "$(cat long-*/x*)" = long ] || fail long name
[ "$(cat latin1-*)" = name ] || fail latin1 name
[ ! -s empty ] || fail empty
[ -z "$(find / -xdev -name '.wh.*')" ] || fail whiteouts
echo right
`

// twenty has 20 layers that each change what the one before made.
func twenty(p *packer, busybox *blobLayer) (v1.Image, string, error) {
	layers := []v1.Layer{busybox}
	for n := 1; n < 20; n++ {
		layer, err := writeLayer(p.scratch, withGzip, func(out *tar.Writer) error {
			err := first(add(out, tar.Header{Name: "data/", Typeflag: tar.TypeDir}, ""), add(out, tar.Header{Name: "data/top"}, fmt.Sprint(n)))
			for file := 0; file < 40 && err == nil; file++ {
				err = add(out, tar.Header{Name: fmt.Sprintf("data/layer-%02d/%02d", n, file)}, strings.Repeat(fmt.Sprintf("%d %d\n", n, file), 200))
			}
			return err
		})
		if err != nil {
			return nil, "", err
		}
		layers = append(layers, layer)
	}
	image, err := image(v1.Config{Cmd: []string{"cat", "/data/top"}}, layers...)
	return image, "twenty-layers:1", err
}

func zstdLayer(p *packer, _ *blobLayer) (v1.Image, string, error) {
	layer, err := p.treeAs("busybox", withZstd)
	if err != nil {
		return nil, "", err
	}
	image, err := image(v1.Config{Cmd: []string{"echo", "zstd"}}, layer)
	return image, "zstd:1", err
}

func tarLayer(p *packer, _ *blobLayer) (v1.Image, string, error) {
	layer, err := p.treeAs("busybox", withNothing)
	if err != nil {
		return nil, "", err
	}
	image, err := image(v1.Config{Cmd: []string{"echo", "tar"}}, layer)
	return image, "uncompressed:1", err
}

// configured says everything that an image can say about the process.
func configured(p *packer, busybox *blobLayer) (v1.Image, string, error) {
	users, err := p.files(
		[2]string{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1234:1235:App:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		[2]string{"etc/group", "root:x:0:\napp:x:1235:\nextra:x:4000:app,root\nmore:x:4001:app\nnogroup:x:65534:\n"},
		[2]string{"vol/from-image", "from the image\n"},
	)
	if err != nil {
		return nil, "", err
	}
	image, err := image(v1.Config{
		Env:          []string{path, "FROM_IMAGE=yes", "BOTH=image"},
		Entrypoint:   []string{"/bin/sh", "-c"},
		Cmd:          []string{"id; pwd; env | sort; trap 'echo usr1; exit 7' USR1; while :; do sleep 0.1; done"},
		User:         "app",
		WorkingDir:   "/made/by/runtime",
		StopSignal:   "SIGUSR1",
		Volumes:      map[string]struct{}{"/vol": {}},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels:       map[string]string{"crid.test": "configured"},
	}, busybox, users)
	return image, "configured:1", err
}

// wrongDiffID's config names another content than its layer has: pulling it must fail.
func wrongDiffID(p *packer, busybox *blobLayer) (v1.Image, string, error) {
	image, err := image(v1.Config{Cmd: []string{"sh"}}, busybox)
	if err != nil {
		return nil, "", err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, "", err
	}
	file = file.DeepCopy()
	file.RootFS.DiffIDs[0].Hex = strings.Repeat("0123456789abcdef", 4)
	image, err = mutate.ConfigFile(image, file)
	return image, "wrong-diff-id:1", err
}

// escaping's layer writes outside of its root by every way a tar knows: pulling it must fail or write nothing outside.
func escaping(p *packer, busybox *blobLayer) (v1.Image, string, error) {
	layer, err := writeLayer(p.scratch, withGzip, func(out *tar.Writer) error {
		return first(
			add(out, tar.Header{Name: "way-out", Typeflag: tar.TypeSymlink, Linkname: "../../../../../../../../tmp"}, ""),
			add(out, tar.Header{Name: "way-out/crid-escaped"}, "through a symlink"),
			add(out, tar.Header{Name: "../../../../../../../../tmp/crid-escaped"}, "by name"),
		)
	})
	if err != nil {
		return nil, "", err
	}
	image, err := image(v1.Config{Cmd: []string{"sh"}}, busybox, layer)
	return image, "escaping:1", err
}

// bigCatalogue is one image of 45,000 files and about 135 MiB of gzip in 5 layers, for the benchmarks, and the same with zstd.
func bigCatalogue(p *packer) ([]entry, error) {
	var entries []entry
	for reference, how := range map[string]compression{"big:1": withGzip, "big-zstd:1": withZstd} {
		busybox, err := p.treeAs("busybox", how)
		if err != nil {
			return nil, err
		}
		layers := []v1.Layer{busybox}
		random := rand.New(rand.NewSource(1))
		for n := 0; n < 4; n++ {
			layer, err := writeLayer(p.scratch, how, func(out *tar.Writer) error { return bigLayer(out, random, n) })
			if err != nil {
				return nil, err
			}
			layers = append(layers, layer)
		}
		image, err := image(v1.Config{Cmd: []string{"sh"}}, layers...)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{references: []string{own + reference}, image: image})
	}
	return entries, nil
}

// bigLayer is 11,150 files as software has them: many small ones, some big, compressible to about a third.
func bigLayer(out *tar.Writer, random *rand.Rand, layer int) error {
	words := make([]string, 4096)
	for n := range words {
		word := make([]byte, 3+random.Intn(9))
		for i := range word {
			word[i] = byte('a' + random.Intn(26))
		}
		words[n] = string(word)
	}
	var body strings.Builder
	for file := 0; file < 11_150; file++ {
		name := fmt.Sprintf("usr/share/big-%d/%02d/%02d/file-%d", layer, file/1000, file/40%25, file)
		size := int(random.ExpFloat64() * 7_250)
		body.Reset()
		for body.Len() < size {
			body.WriteString(words[random.Intn(len(words))])
			body.WriteByte(' ')
		}
		if err := add(out, tar.Header{Name: name}, body.String()); err != nil {
			return err
		}
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
