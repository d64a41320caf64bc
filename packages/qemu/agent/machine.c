#include "agent.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
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

enum { reserved_kilobytes = 8192, read_ahead_max = 16 << 20 };
const char *const guest_root = "/root";
const char *guest_group = "/sys/fs/cgroup/guest/0";

/* Roots, disks and groups of containers are told apart by their number; those of the first have been there always. */
static const char *numbered(const char *name, int index) {
  static char path[16][64];
  static int next;
  char *text = path[next++ % 16];
  if (index) snprintf(text, 64, "%s%d", name, index);
  else snprintf(text, 64, "%s", name);
  return text;
}
static void limit(int index, const char *name, const char *value) {
  char path[96];
  snprintf(path, sizeof path, "/sys/fs/cgroup/guest/%d/%s", index, name);
  put_text(path, value);
}

int machine_enter(void) {
  if (entering) limit(entering, "cgroup.procs", "0");
  return chroot(numbered(guest_root, entering));
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

static void prepare_root(void);

void machine_begin(void) {
  mkdir("/dev", 0755);
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
  mount("proc", "/proc", "proc", 0, 0);
  mount("sysfs", "/sys", "sysfs", 0, 0);
  load_modules();
  /* Work of the kernel's own that a machine of one guest has no use for. */
  put_text("/proc/sys/vm/stat_interval", "60");
  put_text("/proc/sys/vm/compaction_proactiveness", "0");
  network_begin();
  prepare_root();
}

static void node(const char *path, mode_t mode, int major, int minor) {
  mknod(path, S_IFCHR | mode, makedev(major, minor));
  chmod(path, mode);
}

/* What each guest has of its own in its roots. They stay open: what opens them is not done again in each copy. */
enum { own_hosts, own_hostname, own_count };
static int own[containers_max][own_count];

static void open_own_files(int index, const char *root) {
  static const char *names[] = {"hosts", "hostname"};
  char path[96];
  snprintf(path, sizeof path, "%s/etc", root);
  mkdir(path, 0755);
  for (int i = 0; i < own_count; i++) {
    snprintf(path, sizeof path, "%s/etc/%s", root, names[i]);
    own[index][i] = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  }
}

static void write_own_files(int index, struct fields fields) {
  char text[1024];
  const char *name = field(fields, "hostname"), *ip = field(fields, "ip");
  int length = snprintf(text, sizeof text, "127.0.0.1 localhost\n%s %s\n", ip ? ip : "127.0.1.1", name ? name : "guest");
  if (own[index][own_hosts] >= 0 && write(own[index][own_hosts], text, length) < 0) perror("/etc/hosts");
  length = snprintf(text, sizeof text, "%s\n", name ? name : "guest");
  if (own[index][own_hostname] >= 0 && write(own[index][own_hostname], text, length) < 0) perror("/etc/hostname");
}

static void make_read_only(int index, const char *root) {
  for (int i = 0; i < own_count; i++)
    if (own[index][i] >= 0) close(own[index][i]);
  mount(0, root, 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0);
  mount(0, root, 0, MS_REMOUNT | MS_RDONLY | MS_NODEV, 0);
}

/*
 * All that is the same for every guest is done before the machine is copied: in a copy each path of the kernel that is
 * taken for the first time costs its translation.
 */
static void prepare_root(void) {
  static const char *folders[] = {"/upper", "/dev-inside", "/proc-inside", "/sys-inside"};
  for (size_t i = 0; i < 4; i++) mkdir(folders[i], 0755);
  if (mount("tmpfs", "/upper", "tmpfs", MS_NODEV, "mode=755")) perror("/upper");
  for (int i = 0; i < containers_max; i++) {
    mkdir(numbered("/lower", i), 0755);
    mkdir(numbered("/root", i), 0755);
    mkdir(numbered("/upper/data", i), 0755);
    mkdir(numbered("/upper/work", i), 0755);
  }
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
  /* The group that the guest's processes are in counts them; each container has one below it. */
  mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, 0);
  put_text("/sys/fs/cgroup/cgroup.subtree_control", "+pids +memory");
  mkdir("/sys/fs/cgroup/guest", 0755);
  put_text("/sys/fs/cgroup/guest/cgroup.subtree_control", "+pids +memory");
  mkdir(guest_group, 0755);
  /* What the guest cannot have is what the kernel and this program need to live on when it takes all. */
  char memory[32];
  snprintf(memory, sizeof memory, "%ldK", number_in("/proc/meminfo", "MemAvailable:") - reserved_kilobytes);
  put_text("/sys/fs/cgroup/guest/memory.max", memory);
}

/* Roots that are in place. */
static int laid[containers_max];

/* The image below what is written, for one container: dev, proc and sys are moved into the first, and shared with it. */
static const char *lay_root(int index) {
  char disk[] = "/dev/vda", layers[256], inside[96];
  const char *root = numbered(guest_root, index);
  disk[7] += index;
  int file = open(disk, O_RDONLY | O_CLOEXEC);
  ioctl(file, BLKFLSBUF); /* the disk is another one than when this machine was made */
  close(file);
  if (mount(disk, numbered("/lower", index), "squashfs", MS_RDONLY | MS_NODEV, 0)) return "the root disk cannot be mounted";
  snprintf(layers, sizeof layers, "lowerdir=%s,upperdir=%s,workdir=%s", numbered("/lower", index), numbered("/upper/data", index),
           numbered("/upper/work", index));
  if (mount("overlay", root, "overlay", MS_NODEV, layers)) return "the root cannot be made";
  static const char *moved[][3] = {{"/dev-inside", "/root/dev", "dev"}, {"/proc-inside", "/root/proc", "proc"}, {"/sys-inside", "/root/sys", "sys"}};
  for (size_t i = 0; i < 3; i++) {
    snprintf(inside, sizeof inside, "%s/%s", root, moved[i][2]);
    mkdir(inside, 0755);
    if (mount(moved[i][index != 0], inside, 0, index ? MS_BIND | MS_REC : MS_MOVE, 0)) return "the root cannot be completed";
  }
  snprintf(inside, sizeof inside, "%s/tmp", root);
  mkdir(inside, 01777);
  open_own_files(index, root);
  laid[index] = 1;
  return 0;
}

static const char *mount_root(int index, struct fields fields) {
  const char *failed = laid[index] ? 0 : lay_root(index), *root = numbered(guest_root, index);
  if (failed) return failed;
  write_own_files(index, fields);
  failed = mount_paths(root, fields);
  if (failed) return failed;
  if (field(fields, "readonly")) make_read_only(index, root);
  return 0;
}

/* Reads a file of a container, so that it lies in memory. Links lead to where they lead inside. */
static void read_ahead(int index, const char *path) {
  static char page[65536];
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
  int root = open(numbered(guest_root, index), O_PATH | O_CLOEXEC), file = syscall(SYS_openat2, root, path, &how, sizeof how);
  for (long left = read_ahead_max; file >= 0 && left > 0;) {
    ssize_t got = read(file, page, sizeof page);
    if (got <= 0) break;
    left -= got;
  }
  if (file >= 0) close(file);
  close(root);
}

/* What all guests of these images begin with: roots, programs in memory, random numbers. */
const char *machine_prepare(struct fields fields) {
  char *programs[containers_max + 1];
  const size_t count = all_fields(fields, "program", programs, containers_max + 1);
  for (size_t i = 0; i < count; i++) {
    const char *failed = lay_root(i);
    if (failed) return failed;
    if (*programs[i]) read_ahead(i, programs[i]);
  }
  machine_configure(fields);
  return 0;
}

const char *machine_root(struct fields fields) {
  const char *disk = field(fields, "disk"), *pids = field(fields, "pids");
  char size[64];
  if (disk) {
    snprintf(size, sizeof size, "mode=755,size=%s", disk);
    if (mount(0, "/upper", 0, MS_REMOUNT | MS_NODEV, size)) return "what the guest writes cannot be limited";
  }
  if (pids) put_text("/sys/fs/cgroup/guest/pids.max", pids);
  return mount_root(0, fields);
}

const char *machine_container(int index, struct fields fields) {
  const char *memory = field(fields, "memory"), *pids = field(fields, "pids");
  char group[64];
  snprintf(group, sizeof group, "/sys/fs/cgroup/guest/%d", index);
  mkdir(group, 0755);
  if (memory) limit(index, "memory.max", memory);
  if (pids) limit(index, "pids.max", pids);
  return mount_root(index, fields);
}

int machine_container_over(int index) {
  static long before[containers_max];
  char events[96];
  snprintf(events, sizeof events, "/sys/fs/cgroup/guest/%d/memory.events", index);
  limit(index, "cgroup.kill", "1");
  long kills = number_in(events, "oom_kill ");
  int over = kills > before[index];
  before[index] = kills;
  return over;
}

int oom_kills(void) { return number_in("/proc/vmstat", "oom_kill ") + number_in("/sys/fs/cgroup/guest/memory.events", "oom_kill "); }
int processes(void) { return number_in("/sys/fs/cgroup/guest/pids.current", 0); }

/* Tells how it ended on a port of its own, which the host keeps, and leaves. */
_Noreturn void machine_end(int code, int signal) {
  record("end %d %d %d\n", code, signal, oom_kills());
  if (!ioperm(0xf4, 4, 1)) outl(1, 0xf4); /* isa-debug-exit */
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
