package sqlitefile

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// remote are the filesystems on which two processes do not share memory and locks as the write-ahead log needs it. FUSE is among them
// because nobody can tell what is behind it.
var remote = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x5346414f: "AFS",
	0x6b414653: "AFS",
	0xc36400:   "Ceph",
	0x73757245: "Coda",
	0x564c:     "NCP",
	0x1021997:  "9P",
	0x7461636f: "OCFS2",
	0x65735546: "FUSE",
}

// local refuses a folder on a filesystem of remote.
func local(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if name := remote[uint32(st.Type)]; name != "" { // Type is signed and wider on some machines
		return fmt.Errorf("%s is on %s, where sessions would be lost without an error: name a folder on a local disk", dir, name)
	}
	return nil
}
