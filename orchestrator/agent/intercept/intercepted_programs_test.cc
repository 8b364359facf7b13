// Whole programs under the filter: processes, signals, races, and what Debian has.

#include <gtest/gtest.h>

#include "orchestrator/agent/intercept/intercept_peer.h"

namespace im::agent {
namespace {

TEST(InterceptedProgramsTest, fork_exec_and_dup_in_mid_connection) {
  EXPECT_EQ(RunPython(R"(
s = socket.create_connection((PEER, 7))
s.set_inheritable(True)
pid = os.fork()
if pid == 0:
    s.sendall(b'child ')
    os._exit(0)
os.waitpid(pid, 0)
d = os.dup(s.fileno())
done = subprocess.run(['/bin/sh', '-c', f'printf exec >&{d}'], pass_fds=[d])
expect(done.returncode, 0)
fd = s.detach()
os.close(fd)                       # a copy is left
s = socket.socket(fileno=d)
expect(s.getpeername(), (PEER, 7))
s.shutdown(socket.SHUT_WR)
expect(read_all(s), b'child exec')
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
workers = []
for i in range(3):                 # who forks first and accepts later
    pid = os.fork()
    if pid == 0:
        c, _ = l.accept()
        c.sendall(b'%d' % os.getpid())
        os._exit(0)
    workers.append(pid)
answers = [int(read_all(socket.create_connection(l.getsockname()))) for _ in workers]
expect(sorted(answers), sorted(workers))
for pid in workers: os.waitpid(pid, 0)
)"), 0);
}

TEST(InterceptedProgramsTest, signals_reach_a_program_that_waits) {
  EXPECT_EQ(RunPython(R"(
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
class Woken(Exception): pass
def handler(*_): raise Woken()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    l.accept()
    raise AssertionError('accepted')
except Woken:
    pass
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    socket.socket().connect(('10.0.0.77', 5))
    raise AssertionError('connected')
except Woken:
    pass
)"), 0);
}

TEST(InterceptedProgramsTest, a_signal_ends_a_program_that_was_stopped_while_it_waited) {
  EXPECT_EQ(RunPython(R"(
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
pid = os.fork()
if pid == 0:
    l.accept()
    os._exit(0)
def waits():
    with open(f'/proc/{pid}/syscall') as call: return call.read().split()[0] in ('288', '242')  # accept4
while not waits(): os.sched_yield()
for number in signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM: os.kill(pid, number)
expect(os.WTERMSIG(os.waitpid(pid, 0)[1]), signal.SIGTERM)
)"), 0);
}

TEST(InterceptedProgramsTest, asyncio_serves_many_at_once) {
  EXPECT_EQ(RunPython(R"(
async def serve(reader, writer):
    writer.write(await reader.readexactly(1000))
    await writer.drain()
    writer.close()
async def client(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b'z' * 1000)
    expect(await reader.readexactly(1000), b'z' * 1000)
    writer.close()
async def main():
    server = await asyncio.start_server(serve, '0.0.0.0', 8080)
    await asyncio.gather(*(client('127.0.0.1', 8080) for _ in range(50)),
                         *(client(PEER, 7) for _ in range(100)))
asyncio.run(main())
)"), 0);
}

TEST(InterceptedProgramsTest, a_program_that_leaks_sockets_gets_emfile_and_leaves_nothing) {
  EXPECT_EQ(RunPython(R"(
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
leak = []
while True:
    try:
        leak.append(socket.socket())
    except OSError as e:
        expect(e.errno, errno.EMFILE)
        break
expect(len(leak) > 150, True)
for s in leak[:100]: s.setblocking(False); s.connect_ex((PEER, 7))
)"), 0);
}

TEST(InterceptedProgramsTest, no_race_makes_a_socket_of_the_kernels) {
  // The check can fail: without the filter there is one.
  const std::string native = std::string(IM_INTERCEPT_PROBE) + " native";
  EXPECT_EQ(std::system(native.c_str()), 0);
  EXPECT_EQ(RunInHost({IM_INTERCEPT_PROBE, "race"}), 0);
}

TEST(InterceptedProgramsTest, a_thousand_programs_die_while_their_calls_wait) {
  EXPECT_EQ(RunInHost({IM_INTERCEPT_PROBE, "die", "1000"}), 0);
}

TEST(InterceptedProgramsTest, whatever_a_program_passes_its_calls_are_answered) {
  EXPECT_EQ(RunInHost({IM_INTERCEPT_PROBE, "wild", "100"}), 0);
}

TEST(InterceptedProgramsTest, descriptors_are_closed_while_calls_wait_and_none_hangs) {
  EXPECT_EQ(RunInHost({IM_INTERCEPT_PROBE, "close", "1000"}), 0);
}

TEST(InterceptedProgramsTest, a_hundred_threads_connect_at_once) {
  EXPECT_EQ(RunInHost({IM_INTERCEPT_PROBE, "threads", "100"}), 0);
}

TEST(InterceptedProgramsTest, a_listener_is_readable_only_while_somebody_waits) {
  EXPECT_EQ(RunInHost({IM_INTERCEPT_PROBE, "poll", "2000"}), 0);
}

TEST(InterceptedProgramsTest, a_static_program_is_served_as_any_other) {
  EXPECT_EQ(RunInHost({IM_INTERCEPT_PROBE, "echo"}), 0);
}

TEST(InterceptedProgramsTest, a_web_server_serves_curl) {
  if (access("/usr/bin/curl", X_OK) != 0) GTEST_SKIP() << "curl is not installed";
  EXPECT_EQ(RunPython(R"(
os.chdir('/usr/share/doc')
server = subprocess.Popen([sys.executable, '-u', '-m', 'http.server', '8000'],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
expect(b'Serving HTTP' in server.stdout.readline(), True)
for address in '127.0.0.1', HOST:
    got = subprocess.run(['curl', '-sf', f'http://{address}:8000/'], stdout=subprocess.PIPE)
    expect((got.returncode, b'Directory listing' in got.stdout), (0, True))
server.terminate()
server.wait()
)"), 0);
}

TEST(InterceptedProgramsTest, redis_serves_its_own_clients) {
  if (access("/usr/bin/redis-server", X_OK) != 0) GTEST_SKIP() << "redis is not installed";
  EXPECT_EQ(RunPython(R"(
server = subprocess.Popen(['redis-server', '--save', '', '--protected-mode', 'no', '--dir', '/tmp'],
                          stdout=subprocess.PIPE)
while b'Ready to accept' not in server.stdout.readline(): pass
run = lambda *a: subprocess.run(a, stdout=subprocess.PIPE, check=True).stdout
expect(run('redis-cli', 'set', 'a', 'b'), b'OK\n')
expect(run('redis-cli', '-h', HOST, 'get', 'a'), b'b\n')
run('redis-benchmark', '-n', '2000', '-c', '20', '-P', '4', '-t', 'set,get,lrange', '-q')
server.terminate()
expect(server.wait(), 0)
)"), 0);
}

}  // namespace
}  // namespace im::agent
