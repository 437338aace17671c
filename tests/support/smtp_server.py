#!/usr/bin/env python3
"""A real SMTP server (aiosmtpd) with faults, for tests that are not written in Python.

    smtp_server.py FOLDER [--auth] [--tls offered|required|implicit]

Prints its port when it listens. Mails that it took lie in FOLDER as 0001.eml …, with the envelope
in 0001.json; with --tls the certificate to trust is FOLDER/ca.pem. The local part of a recipient
asks for a fault: code451@ and code550@ are refused with that code, data452@ only after the data,
hang@ is never answered, drop@ ends the connection. The login is ci with the password p@ss/w%rd.
It ends when its standard input does.
"""
import argparse
import asyncio
import datetime
import ipaddress
import json
import pathlib
import re
import ssl
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LOGIN = LoginPassword(b"ci", b"p@ss/w%rd")


class Handler:
    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        fault = address.split("@")[0]
        code = re.match(r"code(\d{3})$", fault)
        if code:
            return f"{code.group(1)} 5.1.1 refused by the test"
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "drop":
            server.transport.abort()
            return "250 OK"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if any(to.startswith("data452@") for to in envelope.rcpt_tos):
            return "452 4.3.1 the disk of the test is full"
        self.count += 1
        name = self.folder / f"{self.count:04d}"
        name.with_suffix(".json").write_text(json.dumps(
            {"from": envelope.mail_from, "to": envelope.rcpt_tos,
             "tls": server.transport.get_extra_info("cipher") is not None,
             "user": session.auth_data.decode() if session.authenticated else None}))
        name.with_suffix(".eml").write_bytes(envelope.original_content)
        return f"250 kept as {self.count}"


def authenticate(server, session, envelope, mechanism, data):
    good = data == LOGIN
    # handled=False lets the server itself answer a wrong login
    return AuthResult(success=good, handled=False, auth_data=data.login)


def make_certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=1))
                   .add_extension(x509.SubjectAlternativeName(
                       [x509.DNSName("localhost"),
                        x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
                   .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
                   .sign(key, hashes.SHA256()))
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()) + pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "key.pem")
    return context


async def serve(options):
    folder = pathlib.Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    context = make_certificate(folder) if options.tls else None
    loop = asyncio.get_running_loop()
    handler = Handler(folder)

    def factory():
        return SMTP(handler, hostname="localhost", loop=loop,
                    tls_context=context if options.tls in ("offered", "required") else None,
                    require_starttls=options.tls == "required",
                    auth_required=options.auth, auth_require_tls=False,
                    authenticator=authenticate if options.auth else None)

    server = await loop.create_server(factory, "127.0.0.1", 0,
                                      ssl=context if options.tls == "implicit" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()

    def wait_for_end():
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    await ended.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--auth", action="store_true")
    parser.add_argument("--tls", choices=["offered", "required", "implicit"])
    options = parser.parse_args()
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
