#include "agent.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

long number_in(const char *path, const char *name) {
  char line[128];
  long value = 0;
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file))
    if (!name || !strncmp(line, name, strlen(name))) value = atol(line + (name ? strlen(name) : 0));
  if (file) fclose(file);
  return value;
}
void put_text(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, text, strlen(text)) < 0) perror(path);
  close(file);
}

/* The one that interfaces are asked through. */
static int any_socket(void) {
  static int any = -1;
  if (any < 0) any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return any;
}

static int interface(int request, const char *name, void (*fill)(struct ifreq *, const void *), const void *value) {
  struct ifreq asked = {0};
  strncpy(asked.ifr_name, name, IFNAMSIZ - 1);
  fill(&asked, value);
  int result = ioctl(any_socket(), request, &asked);
  if (result < 0) perror(name);
  return result;
}
static void fill_address(struct ifreq *asked, const void *value) {
  struct sockaddr_in *address = (struct sockaddr_in *)&asked->ifr_addr;
  address->sin_family = AF_INET;
  memcpy(&address->sin_addr, value, 4);
}
static void fill_hardware(struct ifreq *asked, const void *value) {
  /* Six numbers of two digits, colons between them. By hand: sscanf is a lot of code to run for the first time. */
  asked->ifr_hwaddr.sa_family = 1;
  int i = 0;
  for (const char *at = value; *at && i < 6; at++) {
    int digit = *at <= '9' ? *at - '0' : (*at | 0x20) - 'a' + 10;
    if (*at == ':') i++;
    else asked->ifr_hwaddr.sa_data[i] = (char)(asked->ifr_hwaddr.sa_data[i] * 16 + digit);
  }
}
static void fill_flags(struct ifreq *asked, const void *value) { asked->ifr_flags = *(const short *)value; }

/* The first interface that is not the loopback. It stays what it is. */
static const char *card_name(void) {
  static char name[IFNAMSIZ];
  if (*name) return name;
  DIR *directory = opendir("/sys/class/net");
  for (struct dirent *entry; directory && (entry = readdir(directory));)
    if (entry->d_name[0] != '.' && strcmp(entry->d_name, "lo") && !*name) snprintf(name, sizeof name, "%.15s", entry->d_name);
  if (directory) closedir(directory);
  return *name ? name : 0;
}

static const short up = IFF_UP | IFF_RUNNING, down = 0;

static int is_up(const char *name) {
  struct ifreq asked = {0};
  strncpy(asked.ifr_name, name, IFNAMSIZ - 1);
  return !ioctl(any_socket(), SIOCGIFFLAGS, &asked) && asked.ifr_flags & IFF_UP;
}

void network_begin(void) {
  in_addr_t local = inet_addr("127.0.0.1");
  if (!is_up("lo")) {
    interface(SIOCSIFADDR, "lo", fill_address, &local);
    interface(SIOCSIFFLAGS, "lo", fill_flags, &up);
  }
  if (card_name() && !is_up(card_name())) interface(SIOCSIFFLAGS, card_name(), fill_flags, &up);
}

static void network(struct fields fields) {
  const char *ip = field(fields, "ip"), *mac = field(fields, "mac"), *prefix = field(fields, "prefix"), *gateway = field(fields, "gateway");
  network_begin();
  const char *card = card_name();
  if (!ip || !prefix || !card) return;
  /* A virtio card changes its address while it is up; others have to be down for it. */
  if (mac && interface(SIOCSIFHWADDR, card, fill_hardware, mac)) {
    interface(SIOCSIFFLAGS, card, fill_flags, &down);
    interface(SIOCSIFHWADDR, card, fill_hardware, mac);
    interface(SIOCSIFFLAGS, card, fill_flags, &up);
  }
  in_addr_t address = inet_addr(ip), mask = htonl(~0u << (32 - atoi(prefix)));
  interface(SIOCSIFADDR, card, fill_address, &address);
  interface(SIOCSIFNETMASK, card, fill_address, &mask);
  if (!gateway) return;
  struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
  *(struct sockaddr_in *)&route.rt_gateway = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(gateway)};
  route.rt_dst.sa_family = route.rt_genmask.sa_family = AF_INET;
  ioctl(any_socket(), SIOCADDRT, &route);
}

/* Stays open: what opens it is not done again in each copy. */
static int random_source(void) {
  static int file = -1;
  if (file < 0) file = open("/dev/urandom", O_RDWR | O_CLOEXEC);
  return file;
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
    ioctl(random_source(), RNDADDENTROPY, &pool);
    ioctl(random_source(), RNDRESEEDCRNG);
  }
  if (name) sethostname(name, strlen(name));
  network(fields);
}
