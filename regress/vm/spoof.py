"""Sends UDP packets in a tunnel, whatever their addresses. usage: spoof.py
number inner-source inner-destination outer-source outer-destination"""
import socket
import struct
import sys

n, inner, inner_to, outer, outer_to = sys.argv[1:]
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 4)
s.bind((outer, 0))
head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28, 0, 0, 64, 17, 0,
                   socket.inet_aton(inner), socket.inet_aton(inner_to))
total = sum(struct.unpack('!10H', head))
total = (total & 0xffff) + (total >> 16)
total = ~(total + (total >> 16)) & 0xffff
packet = head[:10] + struct.pack('!H', total) + head[12:]
packet += struct.pack('!HHHH', 4000, 4000, 8, 0)
for i in range(int(n)):
    s.sendto(packet, (outer_to, 0))
