import org.apache.thrift.*;
import org.apache.thrift.protocol.TBinaryProtocol;
import org.apache.thrift.server.TThreadPoolServer;
import org.apache.thrift.transport.TServerSocket;
import org.apache.thrift.transport.layered.TFramedTransport;

final class Service {
  static void serve(TProcessor processor) throws TException {
    new TThreadPoolServer(
            new TThreadPoolServer.Args(new TServerSocket(9090))
                .processor(processor)
                .transportFactory(new TFramedTransport.Factory())
                .protocolFactory(new TBinaryProtocol.Factory()))
        .serve();
  }
}
