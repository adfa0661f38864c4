"""Of a map that is pinned: the sum of the 64-bit words of an element (a
counter of each processor), or a 32-bit word of it, which is set.

usage: pin.py file value-size key [offset new]
"""
import ctypes
import platform
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
LOOKUP, UPDATE, OBJ_GET = 1, 2, 7
libc = ctypes.CDLL(None, use_errno=True)


def bpf(cmd, attr):
    attr = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    r = libc.syscall(SYS_BPF, cmd, attr, 128)
    if r < 0:
        raise OSError(ctypes.get_errno(), "bpf %d" % cmd)
    return r


path = ctypes.create_string_buffer(sys.argv[1].encode())
size = int(sys.argv[2])
key = ctypes.create_string_buffer(struct.pack("=I", int(sys.argv[3])), 4)
value = ctypes.create_string_buffer(size)
fd = bpf(OBJ_GET, struct.pack("=Q", ctypes.addressof(path)))
elem = struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key),
                   ctypes.addressof(value), 0)
bpf(LOOKUP, elem)
if len(sys.argv) > 4:
    struct.pack_into("=I", value, int(sys.argv[4]), int(sys.argv[5]))
    bpf(UPDATE, elem)
else:
    print(sum(struct.unpack("=%dQ" % (size // 8), value.raw)))
