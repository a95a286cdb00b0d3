package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// epoch is every file's and image's time, so that the same parts give the same digests.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type compression int

const (
	withGzip compression = iota
	withZstd
	withNothing
)

// blobLayer is a layer whose compressed bytes lie in a file: written once, hashed while written.
type blobLayer struct {
	path           string
	digest, diffID v1.Hash
	size           int64
	mediaType      types.MediaType
}

func (l *blobLayer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *blobLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *blobLayer) Size() (int64, error)                { return l.size, nil }
func (l *blobLayer) MediaType() (types.MediaType, error) { return l.mediaType, nil }
func (l *blobLayer) Compressed() (io.ReadCloser, error)  { return os.Open(l.path) }
func (l *blobLayer) Uncompressed() (io.ReadCloser, error) {
	return nil, fmt.Errorf("not kept uncompressed")
}
func (l blobLayer) withMediaType(t types.MediaType) v1.Layer { l.mediaType = t; return &l }

// writeLayer makes a layer of what fill writes into the tar.
func writeLayer(scratch string, how compression, fill func(*tar.Writer) error) (*blobLayer, error) {
	file, err := os.CreateTemp(scratch, "layer-")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	digest, diffID := sha256.New(), sha256.New()
	size := &counter{}
	compressed := io.MultiWriter(file, digest, size)
	layer := &blobLayer{path: file.Name()}
	var packer io.WriteCloser
	switch how {
	case withGzip:
		packer, layer.mediaType = gzip.NewWriter(compressed), types.OCILayer
	case withZstd:
		packer, err = zstd.NewWriter(compressed)
		layer.mediaType = types.OCILayerZStd
	default:
		packer, layer.mediaType = nopCloser{compressed}, types.OCIUncompressedLayer
	}
	if err != nil {
		return nil, err
	}
	out := tar.NewWriter(io.MultiWriter(packer, diffID))
	if err := fill(out); err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	if err := packer.Close(); err != nil {
		return nil, err
	}
	layer.digest, layer.diffID, layer.size = sum(digest), sum(diffID), size.n
	return layer, nil
}

// addTree writes a folder as it is, but owned by root: hard links stay hard links, setuid bits stay.
func addTree(out *tar.Writer, root string) error {
	first := map[uint64]string{}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		header.Name = name
		if info.IsDir() {
			header.Name += "/"
		}
		header.Uid, header.Gid, header.Uname, header.Gname, header.ModTime = 0, 0, "", "", epoch
		header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
		stat := info.Sys().(*syscall.Stat_t)
		if info.Mode().IsRegular() && stat.Nlink > 1 {
			if known, ok := first[stat.Ino]; ok {
				header.Typeflag, header.Linkname, header.Size = tar.TypeLink, known, 0
				return out.WriteHeader(header)
			}
			first[stat.Ino] = name
		}
		if err := out.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(out, file)
		return err
	})
}

// add writes one entry; a zero mode and time get usual values, a file's size that of body.
func add(out *tar.Writer, header tar.Header, body string) error {
	if header.ModTime.IsZero() {
		header.ModTime = epoch
	}
	if header.Typeflag == 0 {
		header.Typeflag = tar.TypeReg
	}
	if header.Mode == 0 {
		header.Mode = 0o644
		if header.Typeflag == tar.TypeDir {
			header.Mode = 0o755
		}
	}
	if header.Typeflag == tar.TypeReg {
		header.Size = int64(len(body))
	}
	if err := out.WriteHeader(&header); err != nil {
		return fmt.Errorf("%s: %w", header.Name, err)
	}
	_, err := io.WriteString(out, body)
	return err
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
