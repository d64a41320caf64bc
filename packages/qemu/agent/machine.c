#include "agent.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

enum { reserved_kilobytes = 8192 };

static long number_in(const char *path, const char *name) {
  char line[128];
  long value = 0;
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file))
    if (!name || !strncmp(line, name, strlen(name))) value = atol(line + (name ? strlen(name) : 0));
  if (file) fclose(file);
  return value;
}
static void put_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, text, strlen(text)) < 0) perror(path);
  close(file);
}

/* Modules lie in the order in which they need each other: their names begin with a number. */
static void load_modules(void) {
  struct dirent **names;
  int count = scandir("/modules", &names, 0, alphasort);
  for (int i = 0; i < count; i++) {
    char path[512];
    snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
    int file = names[i]->d_name[0] == '.' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    if (syscall(SYS_finit_module, file, "", 0) < 0) perror(path);
    close(file);
  }
}

void machine_begin(void) {
  mkdir("/dev", 0755);
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
  mount("proc", "/proc", "proc", 0, 0);
  mount("sysfs", "/sys", "sysfs", 0, 0);
  load_modules();
}

static int interface(int request, const char *name, void (*fill)(struct ifreq *, const void *), const void *value) {
  struct ifreq asked = {0};
  strncpy(asked.ifr_name, name, IFNAMSIZ - 1);
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  fill(&asked, value);
  int result = ioctl(any, request, &asked);
  if (result < 0) perror(name);
  close(any);
  return result;
}
static void fill_address(struct ifreq *asked, const void *value) {
  struct sockaddr_in *address = (struct sockaddr_in *)&asked->ifr_addr;
  address->sin_family = AF_INET;
  memcpy(&address->sin_addr, value, 4);
}
static void fill_hardware(struct ifreq *asked, const void *value) {
  unsigned byte[6] = {0};
  sscanf(value, "%x:%x:%x:%x:%x:%x", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5]);
  asked->ifr_hwaddr.sa_family = 1;
  for (int i = 0; i < 6; i++) asked->ifr_hwaddr.sa_data[i] = byte[i];
}
static void fill_flags(struct ifreq *asked, const void *value) { asked->ifr_flags = *(const short *)value; }

static void network(struct fields fields) {
  const char *ip = field(fields, "ip"), *mac = field(fields, "mac"), *prefix = field(fields, "prefix"), *gateway = field(fields, "gateway");
  short up = IFF_UP | IFF_RUNNING, down = 0;
  in_addr_t local = inet_addr("127.0.0.1");
  interface(SIOCSIFADDR, "lo", fill_address, &local);
  interface(SIOCSIFFLAGS, "lo", fill_flags, &up);
  if (!ip || !prefix) return;
  interface(SIOCSIFFLAGS, "eth0", fill_flags, &down);
  if (mac) interface(SIOCSIFHWADDR, "eth0", fill_hardware, mac);
  in_addr_t address = inet_addr(ip), mask = htonl(~0u << (32 - atoi(prefix)));
  interface(SIOCSIFADDR, "eth0", fill_address, &address);
  interface(SIOCSIFNETMASK, "eth0", fill_address, &mask);
  interface(SIOCSIFFLAGS, "eth0", fill_flags, &up);
  if (!gateway) return;
  struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
  *(struct sockaddr_in *)&route.rt_gateway = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(gateway)};
  route.rt_dst.sa_family = route.rt_genmask.sa_family = AF_INET;
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ioctl(any, SIOCADDRT, &route);
  close(any);
}

/* What a machine that was copied must not share with its like: address, name, clock, random numbers. */
void machine_configure(struct fields fields) {
  const char *time = field(fields, "time"), *entropy = field(fields, "entropy"), *name = field(fields, "hostname");
  if (time) {
    long long microseconds = atoll(time);
    struct timeval now = {.tv_sec = microseconds / 1000000, .tv_usec = microseconds % 1000000};
    settimeofday(&now, 0);
  }
  if (entropy) {
    struct { int count, size; char bytes[64]; } pool = {.count = 512, .size = 64};
    strncpy(pool.bytes, entropy, 64);
    int file = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    ioctl(file, RNDADDENTROPY, &pool);
    ioctl(file, RNDRESEEDCRNG);
    close(file);
  }
  if (name) sethostname(name, strlen(name));
  network(fields);
}

static void node(const char *path, mode_t mode, int major, int minor) {
  mknod(path, S_IFCHR | mode, makedev(major, minor));
  chmod(path, mode);
}

static void write_file(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return;
  if (write(file, text, strlen(text)) < 0) perror(path);
  close(file);
}

static void own_files(struct fields fields) {
  char text[1024];
  const char *name = field(fields, "hostname"), *ip = field(fields, "ip");
  snprintf(text, sizeof text, "127.0.0.1 localhost\n%s %s\n", ip ? ip : "127.0.1.1", name ? name : "guest");
  mkdir("/root/etc", 0755);
  write_file("/root/etc/hosts", text);
  snprintf(text, sizeof text, "%s\n", name ? name : "guest");
  write_file("/root/etc/hostname", text);
}

const char *machine_root(struct fields fields) {
  static const char *folders[] = {"/lower", "/upper", "/root"};
  for (size_t i = 0; i < 3; i++) mkdir(folders[i], 0755);
  int disk = open("/dev/vda", O_RDONLY | O_CLOEXEC);
  ioctl(disk, BLKFLSBUF); /* the disk is another one than when this machine was made */
  close(disk);
  if (mount("/dev/vda", "/lower", "squashfs", MS_RDONLY | MS_NODEV, 0)) return "the root disk cannot be mounted";
  const char *limit = field(fields, "disk");
  char size[64] = "mode=755";
  if (limit) snprintf(size, sizeof size, "mode=755,size=%s", limit);
  if (mount("tmpfs", "/upper", "tmpfs", MS_NODEV, size)) return "no memory for what the guest writes";
  mkdir("/upper/data", 0755);
  mkdir("/upper/work", 0755);
  if (mount("overlay", "/root", "overlay", MS_NODEV, "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work"))
    return "the root cannot be made";
  static const char *inside[] = {"/root/dev", "/root/proc", "/root/sys", "/root/tmp"};
  for (size_t i = 0; i < 4; i++) mkdir(inside[i], i == 3 ? 01777 : 0755);
  own_files(fields);
  mount("tmpfs", "/root/dev", "tmpfs", MS_NOSUID, "mode=755,size=64k");
  node("/root/dev/null", 0666, 1, 3);
  node("/root/dev/zero", 0666, 1, 5);
  node("/root/dev/full", 0666, 1, 7);
  node("/root/dev/random", 0666, 1, 8);
  node("/root/dev/urandom", 0666, 1, 9);
  node("/root/dev/tty", 0666, 5, 0);
  mkdir("/root/dev/pts", 0755);
  mkdir("/root/dev/shm", 01777);
  mount("devpts", "/root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666");
  mount("tmpfs", "/root/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  if (symlink("pts/ptmx", "/root/dev/ptmx") || symlink("/proc/self/fd", "/root/dev/fd") || symlink("/proc/self/fd/0", "/root/dev/stdin") ||
      symlink("/proc/self/fd/1", "/root/dev/stdout") || symlink("/proc/self/fd/2", "/root/dev/stderr"))
    perror("/root/dev");
  mount("proc", "/root/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
  mount("sysfs", "/root/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, 0);
  if (field(fields, "readonly")) mount(0, "/root", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0);
  if (field(fields, "readonly")) mount(0, "/root", 0, MS_REMOUNT | MS_RDONLY | MS_NODEV, 0);
  /* The group that the guest's processes are in: it counts them. */
  mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, 0);
  put_text("/sys/fs/cgroup/cgroup.subtree_control", "+pids +memory");
  mkdir("/sys/fs/cgroup/guest", 0755);
  /* What the guest cannot have is what the kernel and this program need to live on when it takes all. */
  char memory[32];
  snprintf(memory, sizeof memory, "%ldK", number_in("/proc/meminfo", "MemAvailable:") - reserved_kilobytes);
  put_text("/sys/fs/cgroup/guest/memory.max", memory);
  const char *pids = field(fields, "pids");
  if (pids) put_text("/sys/fs/cgroup/guest/pids.max", pids);
  return 0;
}

int oom_kills(void) { return number_in("/proc/vmstat", "oom_kill ") + number_in("/sys/fs/cgroup/guest/memory.events", "oom_kill "); }
int processes(void) { return number_in("/sys/fs/cgroup/guest/pids.current", 0); }

/* Tells how it ended on a port of its own, which the host keeps, and leaves. */
_Noreturn void machine_end(int code, int signal) {
  char text[64];
  int file = open("/dev/vport0p4", O_WRONLY | O_CLOEXEC);
  int length = snprintf(text, sizeof text, "end %d %d %d\n", code, signal, oom_kills());
  if (file >= 0 && write(file, text, length) < 0) perror("end");
  if (!ioperm(0xf4, 4, 1)) outl(1, 0xf4); /* isa-debug-exit */
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
