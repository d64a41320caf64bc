#include "agent.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { mounts_max = 65 };
#define shares "/run/cloudos-mounts"

/* One file system serves all that the guest may see of the node, each path at its number. */
static int mount_shares(void) {
  static int done;
  if (done) return 0;
  mkdir("/run", 0755);
  mkdir(shares, 0700);
  done = !mount("fs", shares, "virtiofs", MS_NOSUID | MS_NODEV, 0);
  return done ? 0 : -1;
}

/* What a path leads to, from a root that is entered: links of an image lead nowhere else. */
static int make_target(const char *path, int directory) {
  char part[4096];
  for (size_t i = 1; path[i]; i++) {
    if (path[i] != '/') continue;
    snprintf(part, sizeof part, "%.*s", (int)i, path);
    if (mkdir(part, 0755) && errno != EEXIST) return -1;
  }
  if (directory) return mkdir(path, 0755) && errno != EEXIST ? -1 : 0;
  int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file >= 0) close(file);
  return access(path, F_OK);
}

/* Inside of the root: `ro` or `rw`, and where. */
static int put_mount(int source, int directory, int read_only, const char *target) {
  char from[64];
  snprintf(from, sizeof from, "/proc/self/fd/%d", source);
  if (make_target(target, directory) || mount(from, target, 0, MS_BIND, 0)) return -1;
  return mount(0, target, 0, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | (read_only ? MS_RDONLY : 0), 0);
}

const char *mount_paths(const char *root, struct fields fields) {
  char *asked[mounts_max];
  size_t count = all_fields(fields, "mount", asked, mounts_max);
  if (count == 0) return 0;
  if (mount_shares()) return "the paths of the node cannot be mounted";
  int outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), failed = 0;
  for (size_t i = 0; i < count && !failed; i++) {
    int number, at = 0;
    char mode[3], path[64];
    struct stat status;
    if (sscanf(asked[i], "%d %2s %n", &number, mode, &at) != 2 || asked[i][at] != '/') return "a mount is malformed";
    snprintf(path, sizeof path, shares "/%d", number);
    if (stat(path, &status)) return "a path of the node is not served";
    int directory = S_ISDIR(status.st_mode), source = open(path, O_PATH | O_CLOEXEC | (directory ? O_DIRECTORY : 0));
    failed = chroot(root) || chdir("/") || put_mount(source, directory, !strcmp(mode, "ro"), asked[i] + at);
    if (fchdir(outside) || chroot(".")) failed = 1;
    close(source);
  }
  close(outside);
  return failed ? "a path of the node cannot be mounted" : 0;
}
