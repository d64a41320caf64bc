#include "agent.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { reserved_kilobytes = 8192, ext4_magic = 0xef53, sector_bytes = 512 };
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

const char *const guest_root = "";
static char group[256];
const char *guest_group = group;
static int read_only;

/* A root file system that lies on a whole disk is as large as that: disks grow by the limit of the guest. */
static void grow_root(void) {
  struct stat root;
  struct statfs info;
  char path[64];
  if (stat("/", &root) || statfs("/", &info) || info.f_type != ext4_magic) return;
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/partition", major(root.st_dev), minor(root.st_dev));
  if (!access(path, F_OK)) return; /* growing partitions is for the system itself */
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/size", major(root.st_dev), minor(root.st_dev));
  uint64_t blocks = (uint64_t)number_in(path, 0) * sector_bytes / info.f_bsize;
  int file = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (blocks > info.f_blocks && ioctl(file, EXT4_IOC_RESIZE_FS, &blocks) && errno != EBUSY) perror("growing /");
  close(file);
}

/* The group that was delegated to this service, or the root of all where nobody else has groups. */
static void make_group(void) {
  char own[128] = "", base[160], path[256];
  FILE *file = fopen("/proc/self/cgroup", "re");
  while (file && fgets(base, sizeof base, file))
    if (!strncmp(base, "0::/", 4)) snprintf(own, sizeof own, "%.*s", (int)strcspn(base + 3, "\n"), base + 3);
  if (file) fclose(file);
  if (access("/sys/fs/cgroup/cgroup.controllers", F_OK)) mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, 0);
  snprintf(base, sizeof base, "/sys/fs/cgroup%s", strcmp(own, "/") ? own : "");
  if (strcmp(own, "/")) {
    /* Only the root may hold processes beside groups with controllers. */
    snprintf(path, sizeof path, "%s/agent", base);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/agent/cgroup.procs", base);
    put_text(path, "0");
  }
  snprintf(path, sizeof path, "%s/cgroup.subtree_control", base);
  put_text(path, "+pids +memory");
  snprintf(group, sizeof group, "%s/guest", base);
  mkdir(group, 0755);
}

static void limit(const char *name, const char *value) {
  char path[320];
  snprintf(path, sizeof path, "%s/%s", group, name);
  put_text(path, value);
}
static long group_number(const char *file, const char *name) {
  char path[320];
  snprintf(path, sizeof path, "%s/%s", group, file);
  return number_in(path, name);
}

void machine_begin(void) {
  grow_root();
  make_group();
}

const char *machine_root(struct fields fields) {
  char memory[32];
  const char *pids = field(fields, "pids");
  read_only = field(fields, "readonly") != 0;
  /* What the guest cannot have is what the system needs to live on when it takes all. */
  snprintf(memory, sizeof memory, "%ldK", number_in("/proc/meminfo", "MemAvailable:") - reserved_kilobytes);
  limit("memory.max", memory);
  if (pids) limit("pids.max", pids);
  return mount_paths("/", fields);
}

int machine_enter(void) {
  if (!read_only) return 0;
  if (unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0)) return -1;
  return mount(0, "/", 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0);
}

int oom_kills(void) { return number_in("/proc/vmstat", "oom_kill ") + group_number("memory.events", "oom_kill "); }
int processes(void) { return group_number("pids.current", 0); }

/* The machine is over with its program: what was written is on the disk, the rest of the system is not asked. */
_Noreturn void machine_end(int code, int signal) {
  record("end %d %d %d\n", code, signal, oom_kills());
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
