/** System calls by their number on x86-64 (asm/unistd_64.h) that no guest needs and that reach deep into the kernel. */
const refused: Readonly<Record<string, number>> = {
  _sysctl: 156,
  acct: 163,
  add_key: 248,
  adjtimex: 159,
  bpf: 321,
  clock_adjtime: 305,
  clock_settime: 227,
  create_module: 174,
  delete_module: 176,
  fanotify_init: 300,
  finit_module: 313,
  fsconfig: 431,
  fsmount: 432,
  fsopen: 430,
  fspick: 433,
  get_kernel_syms: 177,
  get_mempolicy: 239,
  init_module: 175,
  io_uring_enter: 426,
  io_uring_register: 427,
  io_uring_setup: 425,
  ioperm: 173,
  iopl: 172,
  kcmp: 312,
  kexec_file_load: 320,
  kexec_load: 246,
  keyctl: 250,
  lookup_dcookie: 212,
  mbind: 237,
  mount: 165,
  mount_setattr: 442,
  move_mount: 429,
  move_pages: 279,
  name_to_handle_at: 303,
  nfsservctl: 180,
  open_by_handle_at: 304,
  open_tree: 428,
  perf_event_open: 298,
  pivot_root: 155,
  query_module: 178,
  quotactl: 179,
  quotactl_fd: 443,
  reboot: 169,
  request_key: 249,
  set_mempolicy: 238,
  setdomainname: 171,
  sethostname: 170,
  setns: 308,
  settimeofday: 164,
  swapoff: 168,
  swapon: 167,
  sysfs: 139,
  syslog: 103,
  umount2: 166,
  unshare: 272,
  uselib: 134,
  userfaultfd: 323,
  ustat: 136,
  vhangup: 153,
};

/** Answered as by a kernel without it: the C library falls back to clone, whose flags can be looked at. */
const unknown = { clone3: 435 };
const clone = 56;
/** CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET, _NEWTIME is a call of its own. */
const namespaceFlags = 0x7e020000;

// Classic BPF and seccomp_data: linux/filter.h, linux/seccomp.h, linux/audit.h.
const load = 0x20;
const jumpEqual = 0x15;
const jumpAtLeast = 0x35;
const jumpAnyBit = 0x45;
const answer = 0x06;
const offsetOf = { number: 0, architecture: 4, firstArgument: 16 };
const auditArchX8664 = 0xc000003e;
/** Numbers from here on are those of the x32 ABI, which would go around the others. */
const x32Bit = 0x40000000;
const allow = 0x7fff0000;
const refuseWith = (errno: number) => 0x00050000 | errno;
const eperm = 1;
const enosys = 38;

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

/**
 * The filter for the system calls of guests on x86-64, as classic BPF (seccomp(2)): what is refused gets EPERM, other
 * ABIs of the processor get ENOSYS. It is a list of what is refused, as the kernel grows calls that guests need: beside
 * it, a guest has no capability, which keeps most of these calls out already.
 */
export function seccompFilter(): Buffer {
  const denied = Object.values(refused).flatMap((number): Instruction[] => [
    [jumpEqual, 0, 1, number],
    [answer, 0, 0, refuseWith(eperm)],
  ]);
  const program: Instruction[] = [
    [load, 0, 0, offsetOf.architecture],
    [jumpEqual, 1, 0, auditArchX8664],
    [answer, 0, 0, refuseWith(enosys)],
    [load, 0, 0, offsetOf.number],
    [jumpAtLeast, 0, 1, x32Bit],
    [answer, 0, 0, refuseWith(enosys)],
    [jumpEqual, 0, 1, unknown.clone3],
    [answer, 0, 0, refuseWith(enosys)],
    ...denied,
    [jumpEqual, 0, 3, clone],
    [load, 0, 0, offsetOf.firstArgument],
    [jumpAnyBit, 0, 1, namespaceFlags],
    [answer, 0, 0, refuseWith(eperm)],
    [answer, 0, 0, allow],
  ];
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, [code, ifTrue, ifFalse, value]] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(ifTrue, index * 8 + 2);
    bytes.writeUInt8(ifFalse, index * 8 + 3);
    bytes.writeUInt32LE(value >>> 0, index * 8 + 4);
  }
  return bytes;
}
