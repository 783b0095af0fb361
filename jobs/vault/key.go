package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

const (
	// KeyBytes is the length of a key.
	KeyBytes   = 32
	maxKeyFile = 1 << 10 // bytes; a larger file is no key
	others     = 0o077
)

// ReadKey reads the key of a file: 32 bytes in base64 (as `openssl rand -base64 32` writes
// them) or in hexadecimal digits, with white space around. open reports whether other
// users of the machine may read the file. No error tells anything of what is in it.
func ReadKey(path string) (key [KeyBytes]byte, open bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return key, false, fmt.Errorf("read key: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return key, false, fmt.Errorf("read key: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return key, false, fmt.Errorf("read key: %w", err)
	}
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\uFEFF")))
	raw, err := hex.DecodeString(string(text))
	if err != nil {
		raw, err = base64.StdEncoding.DecodeString(string(text))
	}
	if err != nil || len(raw) != KeyBytes {
		return key, false, fmt.Errorf("%s is no key: it must hold 32 random bytes in base64 or hexadecimal, as made by openssl rand -base64 32", path)
	}
	return [KeyBytes]byte(raw), info.Mode().Perm()&others != 0, nil
}
