"""Pipes each connection to an address on to another one, both ways, and says
what went by: relay.py FROM TO LOG."""
import socket
import sys
import threading

PORT = 3653


def pipe(a, b, mark, log):
    while True:
        try:
            data = a.recv(65536)
        except OSError:
            data = b''
        if not data:
            break
        log.write('%s %s\n' % (mark, data.decode('ascii', 'replace')
                               .replace('\r\n', ' ')))
        log.flush()
        b.sendall(data)
    try:
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main():
    source, to, path = sys.argv[1:4]
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((source, PORT))
    listener.listen()
    with open(path, 'w', encoding='ascii') as log:
        while True:
            a = listener.accept()[0]
            b = socket.create_connection((to, PORT), 5,
                                         source_address=(source, 0))
            threading.Thread(target=pipe, args=(a, b, 'C', log),
                             daemon=True).start()
            threading.Thread(target=pipe, args=(b, a, 'S', log),
                             daemon=True).start()


main()
