"""The other side of TSP for tests: a TEP or a server that the daemon calls.
Shares no code with the daemon. What it answers is the test's to say."""
import base64
import hashlib
import hmac
import os
import re
import socket
import xml.etree.ElementTree as ET

PORT = 3653


class Gone(Exception):
    """The daemon has closed the connection."""


class Called:
    """One connection of the daemon's."""

    def __init__(self, sock, timeout):
        self.sock = sock
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b''

    def close(self):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None

    def more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            raise Gone from None
        if not data:
            raise Gone
        self.buf += data

    def line(self):
        while b'\n' not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b'\n', 1)
        return line.rstrip(b'\r')

    def ended(self):
        """Waits until the daemon ends it, whatever it says before."""
        try:
            while True:
                self.more()
        except Gone:
            return True
        except TimeoutError:
            return False

    # authentication
    def capability(self, mechs=('SCRAM-SHA-256',), tunnel='V4V6'):
        assert self.line() == b'VERSION=1.0'
        self.send(b'CAPABILITY TUNNEL=%s %s\r\n' % (
            tunnel.encode(), b' '.join(b'AUTH=' + m.encode() for m in mechs)))

    def scram(self, password, lie=False, iterations=4096):
        """SCRAM-SHA-256 (RFC 5802) as server; the name of who called."""
        self.capability()
        line = self.line()
        assert line == b'AUTHENTICATE SCRAM-SHA-256', line
        first = base64.b64decode(self.line()).decode()
        bare = first.split(',', 2)[2]
        fields = dict(f.split('=', 1) for f in bare.split(','))
        salt = os.urandom(16)
        nonce = fields['r'] + base64.b64encode(os.urandom(18)).decode()
        server_first = 'r=%s,s=%s,i=%d' % (
            nonce, base64.b64encode(salt).decode(), iterations)
        self.send(base64.b64encode(server_first.encode()) + b'\r\n')
        final = base64.b64decode(self.line()).decode()
        without, proof = final.rsplit(',p=', 1)
        salted = hashlib.pbkdf2_hmac('sha256', password.encode(), salt,
                                     iterations)

        def mac(key, text):
            return hmac.new(key, text, hashlib.sha256).digest()
        message = ','.join((bare, server_first, without)).encode()
        client = mac(salted, b'Client Key')
        signature = mac(hashlib.sha256(client).digest(), message)
        want = bytes(a ^ b for a, b in zip(client, signature))
        assert base64.b64decode(proof) == want, 'a wrong proof'
        server = mac(mac(salted, b'Server Key'), message)
        if lie:
            server = os.urandom(32)
        self.send(base64.b64encode(b'v=' + base64.b64encode(server)) +
                  b'\r\nOK Authentication successful\r\n')
        return fields['n']

    # commands
    def request(self):
        """The next message: action, addresses (the last of each kind)."""
        header = self.line()
        m = re.fullmatch(rb'Content-length: ([0-9]+)', header)
        assert m, header
        while len(self.buf) < int(m.group(1)):
            self.more()
        body = self.buf[:int(m.group(1))]
        self.buf = self.buf[int(m.group(1)):]
        r = {'body': body,
             'action': re.search(rb'action="([a-z]*)"', body).group(1).decode()}
        for kind in ('ipv4', 'ipv6'):
            found = re.findall(rb'type="%s"[^>]*>([^<]*)<' % kind.encode(),
                               body)
            r[kind] = found[-1].decode() if found else None
        return r

    def message(self):
        """The same, with all that its XML holds."""
        r = self.request()
        root = ET.fromstring(r['body'].split(b'\r\n', 1)[1]
                             if r['body'][:1].isdigit() else r['body'])
        r.update(root.attrib)
        r['elements'] = [e.tag for e in root]
        r['all'] = [(a.get('type'), a.get('length'), a.text)
                    for a in root.iter('address')]
        return r

    def frame(self, body):
        if isinstance(body, str):
            body = body.encode()
        self.send(b'Content-length: %d\r\n%s' % (len(body), body))

    def status(self, text):
        self.frame(text + '\r\n')

    def info(self, server, client=None, lifetime=60, action='info'):
        def side(name, addresses):
            return '<%s>%s</%s>' % (name, ''.join(
                '<address type="%s">%s</address>' %
                ('ipv6' if ':' in a else 'ipv4', a) for a in addresses), name)
        self.frame('200 OK\r\n<tunnel action="%s" type="v4v6" '
                   'lifetime="%d">%s%s</tunnel>\r\n' % (
                       action, lifetime, side('server', server) if server
                       else '', side('client', client) if client else ''))


class Listener:
    def __init__(self, address, timeout=20):
        self.timeout = timeout
        self.sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, PORT))
        self.sock.listen(16)
        self.sock.settimeout(timeout)

    def accept(self):
        return Called(self.sock.accept()[0], self.timeout)
