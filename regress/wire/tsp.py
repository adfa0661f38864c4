"""An independent TSP client for tests: shares no code with the daemon."""
import base64
import hashlib
import hmac
import os
import re
import socket
import xml.etree.ElementTree as ET

PORT = 3653


class Closed(Exception):
    pass


def digest_md5(user, realm, password, nonce, cnonce, uri, nc='00000001'):
    """What client and server have to say: response and rspauth."""
    def md5(data):
        return hashlib.md5(data).digest()
    a1 = md5(':'.join((user, realm, password)).encode()) + \
        ':'.join(('', nonce, cnonce)).encode()

    def answer(method):
        a2 = (method + ':' + uri).encode()
        return md5(':'.join((md5(a1).hex(), nonce, nc, cnonce, 'auth',
                             md5(a2).hex())).encode()).hex()
    return answer('AUTHENTICATE'), answer('')


class Client:
    """One connection. Lines and frames are bytes as they came."""

    def __init__(self, host, port=PORT, source=None, timeout=10):
        self.sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = self.sock.getsockname()[0]
        self.buf = b''

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise Closed
        self.buf += data

    def line(self):
        while b'\n' not in self.buf:
            self.more()
        line, self.buf = self.buf.split(b'\n', 1)
        assert line.endswith(b'\r'), line
        return line[:-1]

    def frame(self):
        header = self.line()
        m = re.fullmatch(rb'Content-length: ([0-9]+)', header)
        assert m, header
        n = int(m.group(1))
        while len(self.buf) < n:
            self.more()
        body, self.buf = self.buf[:n], self.buf[n:]
        return body

    def at_end(self):
        """Has the peer closed, with nothing more to say?"""
        if self.buf:
            return False
        try:
            self.more()
        except (Closed, ConnectionResetError):
            return True
        return False

    # authentication
    def version(self, version='1.0'):
        self.send(b'VERSION=%s\r\n' % version.encode())
        return self.line()

    def anonymous(self, version='1.0'):
        self.version(version)
        self.send(b'AUTHENTICATE ANONYMOUS\r\n')
        return self.line()

    def scram(self, user, password, version='1.0', check=True, nul=b'',
              mech='SCRAM-SHA-256', authzid='', binding=None):
        """SCRAM-SHA-256 (RFC 7677); the last line, and what it proved. A
        channel binding is its name and its octets."""
        self.version(version)
        nonce = base64.b64encode(os.urandom(18))
        bare = b'n=' + user.encode() + b',r=' + nonce
        name, data = binding or ('', b'')
        header = ('p=' + name if binding else 'n').encode() + b',' + \
            (b'a=' + authzid.encode() if authzid else b'') + b','
        self.send(b'AUTHENTICATE ' + mech.encode() + b'\r\n' + nul +
                  base64.b64encode(header + bare) + b'\r\n')
        line = self.line()
        if line.startswith(b'300'):
            return line
        first = base64.b64decode(line)
        fields = dict(f.split(b'=', 1) for f in first.split(b','))
        assert fields[b'r'].startswith(nonce)
        salted = hashlib.pbkdf2_hmac('sha256', password.encode(),
                                     base64.b64decode(fields[b's']),
                                     int(fields[b'i']))
        without = b'c=' + base64.b64encode(header + data) + b',r=' + \
            fields[b'r']
        message = bare + b',' + first + b',' + without

        def mac(key, text):
            return hmac.new(key, text, hashlib.sha256).digest()
        client = mac(salted, b'Client Key')
        signature = mac(hashlib.sha256(client).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client, signature))
        self.send(base64.b64encode(without + b',p=' +
                                   base64.b64encode(proof)) + b'\r\n')
        line = self.line()
        if line.startswith(b'300'):
            return line
        final = base64.b64decode(line)
        if check:
            want = base64.b64encode(mac(mac(salted, b'Server Key'), message))
            assert final == b'v=' + want, 'the server did not prove itself'
        return self.line()

    def digest(self, user, password, version='1.0', uri='tsp/hexos', nul=b'',
               cnonce=None, tamper=lambda s: s):
        """DIGEST-MD5 (RFC 2831, RFC 5572 figure 12); the last line."""
        self.version(version)
        self.send(b'AUTHENTICATE DIGEST-MD5\r\n' + nul)
        line = self.line()
        if line.startswith(b'300'):
            return line
        self.challenge = base64.b64decode(line, validate=True).decode()
        fields = dict(re.findall(r'([a-z]+)="?([^",]*)"?', self.challenge))
        cnonce = cnonce or base64.b64encode(os.urandom(12)).decode()
        answer, self.rspauth = digest_md5(
            user, fields['realm'], password, fields['nonce'], cnonce, uri)
        text = ('username="%s",realm="%s",nonce="%s",cnonce="%s",'
                'nc=00000001,qop=auth,digest-uri="%s",charset=utf-8,'
                'response=%s' % (user, fields['realm'], fields['nonce'],
                                 cnonce, uri, answer))
        self.send(nul + base64.b64encode(tamper(text).encode()) + b'\r\n')
        line = self.line()
        if line.startswith(b'300'):
            return line
        assert base64.b64decode(line) == b'rspauth=' + self.rspauth.encode(), \
            'the server did not prove itself'
        self.at_rspauth = self.buf      # what came in the same read
        return self.line()

    def plain(self, user, password, version='1.0', raw=False, nul=b'',
              authzid=''):
        """PLAIN, as a field client sends it where raw: in one segment."""
        self.version(version)
        text = b'\0'.join(s.encode() for s in (authzid, user, password))
        self.send(b'AUTHENTICATE PLAIN\r\n' + nul +
                  (text if raw else base64.b64encode(text)) + b'\r\n')
        return self.line()

    # commands
    def command(self, xml, header=b'Content-length: '):
        if isinstance(xml, str):
            xml = xml.encode()
        self.send(header + str(len(xml)).encode() + b'\r\n' + xml)

    def ask(self, action, v6=None, v4=None, lifetime=None, ll=None):
        """A request; its answer is the next frame."""
        xml = '<tunnel action="%s" type="v4v6"' % action
        if lifetime is not None:
            xml += ' lifetime="%d"' % lifetime
        xml += '><client>'
        for a in (ll, v6):
            if a:
                xml += '<address type="ipv6">%s</address>' % a
        if v4:
            xml += '<address type="ipv4" length="32">%s</address>' % v4
        self.command(xml + '</client></tunnel>\r\n')

    def reply(self):
        return Reply(self.frame())

    def request(self, action, **more):
        self.ask(action, **more)
        return self.reply()

    def create(self, v4=None, **more):
        return self.request('create', v6=self.address, v4=v4, **more)


class Reply:
    def __init__(self, body):
        self.body = body
        status, rest = body.split(b'\r\n', 1)
        self.status = status
        self.code = int(status.split(b' ')[0])
        self.xml = rest
        if not rest:
            return
        root = ET.fromstring(rest)
        self.type = root.get('type')
        self.brokers = [a.text for a in root.findall('broker/address')]
        self.action = root.get('action')
        self.lifetime = int(root.get('lifetime', 1440))
        for side in ('client', 'server'):
            for a in root.findall(side + '/address'):
                setattr(self, side + '_' + a.get('type'), a.text)
