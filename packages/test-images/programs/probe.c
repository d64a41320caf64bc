/* What the conformance suite of guests runs where there is no Node.js.
 *
 *   probe http PORT BODY    answers every request with 200 and the body
 *   probe allocate BYTES    touches that much memory, prints "done", runs on
 *   probe spawn COUNT       tries to have that many processes, prints "<n> running", runs on
 *   probe fill PATH BYTES   writes that much, prints "<n> written" and why it ended, runs on
 *   probe privileges        prints what the kernel lets it do: one line for each attempt, "<what> refused" or "<what> allowed"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void quit(int signal) { (void)signal; _exit(0); }

static int run_on(void) {
  fflush(stdout);
  while (pause()) continue;
  return 0;
}

static int http(int port, const char *body) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) return perror("listen"), 1;
  for (;;) {
    char request[4096];
    int connection = accept(listener, 0, 0);
    if (connection < 0) continue;
    if (recv(connection, request, sizeof request, 0) > 0)
      dprintf(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    shutdown(connection, SHUT_WR);
    close(connection);
  }
}

static int allocate(size_t bytes) {
  for (size_t left = bytes; left > 0;) {
    size_t part = left < 1 << 20 ? left : 1 << 20;
    char *memory = malloc(part);
    if (!memory) return perror("malloc"), 1;
    memset(memory, 1, part);
    left -= part;
  }
  puts("done");
  return run_on();
}

static int spawn(int count) {
  int got = 0;
  for (int i = 0; i < count; i++) {
    pid_t child = fork();
    if (child == 0) return run_on();
    got += child > 0;
  }
  printf("%d running\n", got);
  return run_on();
}

static int fill(const char *path, size_t bytes) {
  static char block[65536];
  memset(block, 7, sizeof block);
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) return printf("0 written: %s\n", strerror(errno)), run_on();
  size_t written = 0;
  errno = 0;
  while (written < bytes) {
    ssize_t part = write(file, block, sizeof block);
    if (part <= 0) break;
    written += (size_t)part;
  }
  int why = errno;
  if (fsync(file) && !why) why = errno;
  printf("%zu written: %s\n", written, written >= bytes && !why ? "all" : strerror(why));
  return run_on();
}

/* Any other error means that the kernel was ready to do it, and had no use for the arguments. */
static void attempt(const char *what, long result) {
  int refused = result < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS);
  printf("%s %s\n", what, refused ? "refused" : "allowed");
}

static int privileges(void) {
  attempt("mount", mount("none", "/proc", "proc", 0, 0));
  attempt("chroot", chroot("/"));
  attempt("mknod", mknod("/tmp/probe-device", S_IFBLK | 0600, 0x800));
  attempt("sethostname", sethostname("probe", 5));
  attempt("chown", chown("/proc/self/exe", 1, 1));
  attempt("user-namespace", unshare(CLONE_NEWUSER));
  attempt("keyring", syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_PROCESS_KEYRING));
  attempt("bpf", syscall(SYS_bpf, 0, 0, 0));
  attempt("perf", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
  attempt("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
  attempt("userfaultfd", syscall(SYS_userfaultfd, 0));
  attempt("module", syscall(SYS_init_module, 0, 0, ""));
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  signal(SIGTERM, quit);
  if (!strcmp(what, "http") && argc == 4) return http(atoi(argv[2]), argv[3]);
  if (!strcmp(what, "allocate") && argc == 3) return allocate(strtoull(argv[2], 0, 10));
  if (!strcmp(what, "spawn") && argc == 3) return spawn(atoi(argv[2]));
  if (!strcmp(what, "fill") && argc == 4) return fill(argv[2], strtoull(argv[3], 0, 10));
  if (!strcmp(what, "privileges")) return privileges();
  fprintf(stderr, "probe: http PORT BODY | allocate BYTES | spawn COUNT | fill PATH BYTES | privileges\n");
  return 2;
}
