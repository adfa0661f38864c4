"""What a taken-over process could do to descriptors that it shares with others.
usage: takeover.py PID listener|device
listener: ends the listening sockets of PID; device: makes its TUN devices
block. By pidfd_getfd(2), as the process itself would."""
import ctypes
import fcntl
import os
import socket
import sys

PIDFD_OPEN, PIDFD_GETFD = 434, 438
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *args):
    r = libc.syscall(number, *args)
    if r == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r


def is_listener(fd):
    try:
        s = socket.socket(fileno=os.dup(fd))
    except OSError:
        return False
    with s:
        return s.family == socket.AF_INET6 and \
            s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


pid, what = int(sys.argv[1]), sys.argv[2]
pidfd = call(PIDFD_OPEN, pid, 0)
done = 0
for n in sorted(int(x) for x in os.listdir('/proc/%d/fd' % pid)):
    path = os.readlink('/proc/%d/fd/%d' % (pid, n))
    if what == 'listener' and path.startswith('socket:'):
        fd = call(PIDFD_GETFD, pidfd, n, 0)
        if is_listener(fd):
            socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RD)
            done += 1
        os.close(fd)
    elif what == 'device' and path.endswith('/net/tun'):
        fd = call(PIDFD_GETFD, pidfd, n, 0)
        fcntl.fcntl(fd, fcntl.F_SETFL,
                    fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
        done += 1
        os.close(fd)
sys.exit(done == 0)
