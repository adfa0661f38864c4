"""Run by onward.t, in the network of one of its hosts.

frames IFACE MAC HOW SOURCE DESTINATION[/TOS] ...: five echo requests from each
	to each, in turn and of one processor, in frames of its own, of which
	something may be not as it should be; no MAC: there are none
tcx IFACE: how many programs of that kind there are at its ingress
drop IFACE ingress|egress FIELD VALUE: one that drops IPv4 packets with it in
	that field of theirs (of struct __sk_buff), until this ends; behind
	others at ingress, before them at egress
echo IFACE: is a TUN device, at which pings are answered, until this ends
"""
import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
import sys
import time

BPF = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
PROG_LOAD, PROG_QUERY, LINK_CREATE = 5, 16, 28
SCHED_CLS, BEFORE = 3, 1 << 3
TCX = {'ingress': 46, 'egress': 47}
FIELD = {'protocol': 16, 'priority': 32}
TUNSETIFF, IFF_TUN_NO_PI = 0x400454ca, 0x1001
ETH_P_IP, ETH_P_8021Q = 0x0800, 0x8100

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attr):
    attr = ctypes.create_string_buffer(attr, 128)
    fd = libc.syscall(BPF, command, attr, len(attr))
    if fd < 0:
        raise OSError(ctypes.get_errno(), 'bpf')
    return fd, attr.raw


def programs(ifindex):
    try:
        _, attr = bpf(PROG_QUERY, struct.pack('=2I', ifindex, TCX['ingress']))
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise
        return 0
    return struct.unpack_from('=I', attr, 24)[0]


def attach_drop(ifindex, way, field, value):
    """r0 = TC_ACT_UNSPEC; if skb->field is value: r0 = TC_ACT_SHOT"""
    code = struct.pack('<' + 'BBhi' * 5,
                       0x61, 0x12, FIELD[field], 0,
                       0xb7, 0x00, 0, -1,
                       0x55, 0x02, 1, int(value, 0),
                       0xb7, 0x00, 0, 2,
                       0x95, 0x00, 0, 0)
    insns = ctypes.create_string_buffer(code)
    terms = ctypes.create_string_buffer(b'GPL')
    fd, _ = bpf(PROG_LOAD, struct.pack('=2I2Q', SCHED_CLS, 5,
                                       ctypes.addressof(insns),
                                       ctypes.addressof(terms)))
    return bpf(LINK_CREATE, struct.pack('=4I', fd, ifindex, TCX[way],
                                        BEFORE if way == 'egress' else 0))[0]


def echo(iface):
    fd = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', iface.encode(),
                                           IFF_TUN_NO_PI))
    print('attached', flush=True)
    while True:
        data = os.read(fd, 65536)
        if data[0] != 0x45 or data[9] != 1 or data[20] != 8:
            continue
        total = 0x0800 + struct.unpack_from('!H', data, 22)[0]
        total = (total & 0xffff) + (total >> 16)
        os.write(fd, data[:12] + data[16:20] + data[12:16] + b'\0\0' +
                 struct.pack('!H', total) + data[24:])


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def packet(how, source, destination, seq):
    destination, _, tos = destination.partition('/')
    echo = struct.pack('!2B3H', 8, 0, 0, 77, seq)
    echo = echo[:2] + struct.pack('!H', checksum(echo)) + echo[4:]
    length = 20 + len(echo) + (1 if how == 'short' else 0)
    ip = struct.pack('!2B3H2BH4s4s', 0x45, int(tos or '0', 0), length, seq, 0,
                     64, 1, 0, socket.inet_aton(source),
                     socket.inet_aton(destination))
    total = checksum(ip)
    if how == 'badsum':
        total ^= 0x0100
    return ip[:10] + struct.pack('!H', total) + ip[12:] + echo


def frames(iface, mac, how, *ends):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    s = socket.socket(socket.AF_PACKET,
                      socket.SOCK_RAW if mac else socket.SOCK_DGRAM, 0)
    s.bind((iface, ETH_P_IP))
    hop = bytes.fromhex(mac.replace(':', ''))
    if how == 'otherhost':
        hop = bytes.fromhex('020000000bad')
    elif how == 'broadcast':
        hop = b'\xff' * 6
    elif how == 'multicast':
        hop = bytes.fromhex('01005e000001')
    link = hop + bytes.fromhex('020000000022')
    if how == 'vlan':
        link += struct.pack('!2H', ETH_P_8021Q, 5)
    link += struct.pack('!H', ETH_P_IP)
    packets = [packet(how, source, destination, seq)
               for seq in range(5)
               for source, destination in zip(ends[::2], ends[1::2])]
    for data in packets:
        if not mac:
            s.sendto(data, (iface, ETH_P_IP))
            continue
        data = link + data
        s.send(data.ljust(60, b'\0') if how == 'padded' else data)


def main():
    command, iface = sys.argv[1:3]
    if command == 'frames':
        frames(iface, *sys.argv[3:])
    elif command == 'tcx':
        print(programs(socket.if_nametoindex(iface)))
    elif command == 'echo':
        echo(iface)
    elif command == 'drop':
        link = attach_drop(socket.if_nametoindex(iface), *sys.argv[3:])
        print('attached', flush=True)
        while link:
            time.sleep(3600)


main()
