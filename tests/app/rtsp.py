"""A small RTSP server (RFC 2326): H.264 in RTP (RFC 6184) between the answers of one connection."""

import contextlib
import itertools
import re
import socket
import socketserver
import struct
import threading

import av

MTU = 1200


def units_of(path):
    """For each picture of a file its NAL units."""
    with av.open(str(path)) as container:
        pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    return [[unit for unit in re.split(rb"\x00?\x00\x00\x01", data) if unit] for data in pictures]


def payloads(unit):
    """RTP payloads of a NAL unit: itself, or fragments (FU-A)."""
    if len(unit) <= MTU:
        return [unit]
    head, kind = (unit[0] & 0xE0) | 28, unit[0] & 0x1F
    parts = [unit[at : at + MTU] for at in range(1, len(unit), MTU)]
    marks = [0x80, *[0] * (len(parts) - 2), 0x40]
    return [bytes([head, mark | kind]) + part for mark, part in zip(marks, parts, strict=True)]


class Rtsp:
    """Plays a clip again and again, or ``most`` pictures and then dies, at ``rate`` a second."""

    def __init__(self, path, port=0, rate=50, most=None):
        self.pictures, self.rate, self.most = units_of(path), rate, most
        self.stop, self.connections, self.said = threading.Event(), [], []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                outer.connections.append(self.connection)
                with contextlib.suppress(OSError):
                    outer.talk(self)

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        socketserver.ThreadingTCPServer.daemon_threads = True
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def talk(self, client):
        """Answer until PLAY, then send."""
        for line in iter(client.rfile.readline, b""):
            word = line.decode().split()[0]
            header = dict(re.findall(r"([\w-]+): *(.*)\r", "".join(lines(client.rfile))))
            self.said.append((word, header))
            more, body = "", ""
            if word == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:0\r\n"
                )
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif word == "SETUP":
                more = f"Transport: {header['Transport']}\r\n"
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {header['CSeq']}\r\nSession: 1\r\n{more}\r\n{body}"
            client.wfile.write(answer.encode())
            if word == "PLAY":
                return self.play(client.wfile)
        return None

    def play(self, out):
        """Send pictures at their pace."""
        number = itertools.count()
        endless = itertools.islice(itertools.cycle(self.pictures), self.most)
        for n, picture in enumerate(endless):
            if self.stop.wait(1 / self.rate):
                return
            packets = [part for unit in picture for part in payloads(unit)]
            for k, part in enumerate(packets):
                last = 0x80 * (k == len(packets) - 1)
                time = n * 90_000 // self.rate
                rtp = struct.pack(">BBHII", 0x80, last | 96, next(number) & 0xFFFF, time, 7) + part
                out.write(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
        threading.Thread(target=self.kill).start()

    def kill(self):
        """Drop every connection and answer no more."""
        self.stop.set()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server.shutdown()
        self.server.server_close()


def lines(file):
    """Header lines up to the empty one."""
    return (line.decode() for line in iter(file.readline, b"\r\n"))
