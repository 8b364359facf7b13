"""What the services in Python have in common: a server, and a client that opens its connection anew."""

import sys
import threading

sys.path.insert(0, "build/py")
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAcceleratedFactory
from thrift.server.TServer import TThreadedServer
from thrift.transport.TSocket import TServerSocket, TSocket
from thrift.transport.TTransport import TFramedTransport, TFramedTransportFactory, TTransportException

PORT = 9090


def serve(processor):
    TThreadedServer(processor, TServerSocket(host="0.0.0.0", port=PORT), TFramedTransportFactory(),
                    TBinaryProtocolAcceleratedFactory()).serve()


class Remote(threading.local):
    """A service elsewhere: one connection for each of our threads, made at the first call."""

    def __init__(self, host, service):
        self.host, self.service, self.client = host, service, None

    def __call__(self, method, *arguments):
        for last in False, True:
            try:
                if self.client is None:
                    transport = TFramedTransport(TSocket(self.host, PORT))
                    transport.open()
                    self.client = self.service.Client(TBinaryProtocolAcceleratedFactory().getProtocol(transport))
                return getattr(self.client, method)(*arguments)
            except (TTransportException, OSError):
                self.client = None  # that host was released meanwhile: its connections are gone
                if last:
                    raise
