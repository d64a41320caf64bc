#include "agent.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
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
#include <unistd.h>

enum { reserved_kilobytes = 8192 };
const char *const guest_root = "/root";
const char *guest_group = "/sys/fs/cgroup/guest";
int machine_enter(void) { return chroot(guest_root); }

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

static void prepare_root(void);

void machine_begin(void) {
  mkdir("/dev", 0755);
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
  mount("proc", "/proc", "proc", 0, 0);
  mount("sysfs", "/sys", "sysfs", 0, 0);
  load_modules();
  network_begin();
  prepare_root();
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

/*
 * All that is the same for every guest is done before the machine is copied: in a copy each path of the kernel that is
 * taken for the first time costs its translation.
 */
static void prepare_root(void) {
  static const char *folders[] = {"/lower", "/upper", "/root", "/dev-inside", "/proc-inside", "/sys-inside"};
  for (size_t i = 0; i < 6; i++) mkdir(folders[i], 0755);
  if (mount("tmpfs", "/upper", "tmpfs", MS_NODEV, "mode=755")) perror("/upper");
  mkdir("/upper/data", 0755);
  mkdir("/upper/work", 0755);
  mount("tmpfs", "/dev-inside", "tmpfs", MS_NOSUID, "mode=755,size=64k");
  node("/dev-inside/null", 0666, 1, 3);
  node("/dev-inside/zero", 0666, 1, 5);
  node("/dev-inside/full", 0666, 1, 7);
  node("/dev-inside/random", 0666, 1, 8);
  node("/dev-inside/urandom", 0666, 1, 9);
  node("/dev-inside/tty", 0666, 5, 0);
  mkdir("/dev-inside/pts", 0755);
  mkdir("/dev-inside/shm", 01777);
  mount("devpts", "/dev-inside/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666");
  mount("tmpfs", "/dev-inside/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  if (symlink("pts/ptmx", "/dev-inside/ptmx") || symlink("/proc/self/fd", "/dev-inside/fd") || symlink("/proc/self/fd/0", "/dev-inside/stdin") ||
      symlink("/proc/self/fd/1", "/dev-inside/stdout") || symlink("/proc/self/fd/2", "/dev-inside/stderr"))
    perror("/dev-inside");
  mount("proc", "/proc-inside", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
  mount("sysfs", "/sys-inside", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, 0);
  /* The group that the guest's processes are in: it counts them. */
  mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, 0);
  put_text("/sys/fs/cgroup/cgroup.subtree_control", "+pids +memory");
  mkdir(guest_group, 0755);
  /* What the guest cannot have is what the kernel and this program need to live on when it takes all. */
  char memory[32];
  snprintf(memory, sizeof memory, "%ldK", number_in("/proc/meminfo", "MemAvailable:") - reserved_kilobytes);
  put_text("/sys/fs/cgroup/guest/memory.max", memory);
}

const char *machine_root(struct fields fields) {
  int disk = open("/dev/vda", O_RDONLY | O_CLOEXEC);
  ioctl(disk, BLKFLSBUF); /* the disk is another one than when this machine was made */
  close(disk);
  if (mount("/dev/vda", "/lower", "squashfs", MS_RDONLY | MS_NODEV, 0)) return "the root disk cannot be mounted";
  const char *limit = field(fields, "disk");
  char size[64] = "mode=755";
  if (limit) snprintf(size, sizeof size, "mode=755,size=%s", limit);
  if (limit && mount(0, "/upper", 0, MS_REMOUNT | MS_NODEV, size)) return "what the guest writes cannot be limited";
  if (mount("overlay", "/root", "overlay", MS_NODEV, "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work"))
    return "the root cannot be made";
  static const char *moved[][2] = {{"/dev-inside", "/root/dev"}, {"/proc-inside", "/root/proc"}, {"/sys-inside", "/root/sys"}};
  for (size_t i = 0; i < 3; i++) {
    mkdir(moved[i][1], 0755);
    if (mount(moved[i][0], moved[i][1], 0, MS_MOVE, 0)) return "the root cannot be completed";
  }
  mkdir("/root/tmp", 01777);
  own_files(fields);
  if (field(fields, "readonly")) mount(0, "/root", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0);
  if (field(fields, "readonly")) mount(0, "/root", 0, MS_REMOUNT | MS_RDONLY | MS_NODEV, 0);
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
