import { seccompFilter } from './seccomp-filter.ts';

/** Where the program is in memory. Not position independent: it loads nothing and calls nobody. */
const base = 0x400000;
const headerBytes = 64 + 56;

/**
 * A static ELF program for x86-64 that puts itself under a seccomp filter and becomes its arguments:
 * `loader /path/to/program argument…`. 200 bytes of instructions, made here and not compiled: a fresh machine has no
 * compiler, and setpriv(1) knows filters only from util-linux 2.41 on. Ends with 125 when the kernel takes no filter, and
 * with 127 when the program cannot be run. Undefined on other processors.
 *
 * System V ABI for x86-64 ("Process Initialization": the stack holds argc, argv, envp), elf(5), seccomp(2).
 */
export function seccompLoader(architecture: string = process.arch): Buffer | undefined {
  if (architecture !== 'x64') return undefined;
  const filter = seccompFilter();
  const code = instructions(base);
  const fprogAt = align(headerBytes + code.length);
  const filterAt = fprogAt + 16;
  const file = Buffer.alloc(filterAt + filter.length);
  file.set(elfHeader(), 0);
  file.set(programHeader(file.length), 64);
  file.set(instructions(base + fprogAt), headerBytes);
  // struct sock_fprog: the count, and where the filter is.
  file.writeUInt16LE(filter.length / 8, fprogAt);
  file.writeBigUInt64LE(BigInt(base + filterAt), fprogAt + 8);
  file.set(filter, filterAt);
  return file;
}

function instructions(fprog: number): Buffer {
  const u32 = (value: number) => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];
  const syscall = [0x0f, 0x05];
  const movEax = (value: number) => [0xb8, ...u32(value)];
  const movEdi = (value: number) => [0xbf, ...u32(value)];
  const movEsi = (value: number) => [0xbe, ...u32(value)];
  const movEdx = (value: number) => [0xba, ...u32(value)];
  const xorEsi = [0x31, 0xf6];
  const xorEdx = [0x31, 0xd2];
  const xorR10 = [0x4d, 0x31, 0xd2];
  const xorR8 = [0x4d, 0x31, 0xc0];
  const exit = (status: number) => [...movEdi(status), ...movEax(231), ...syscall];
  const filter = [
    ...[0x48, 0x89, 0xe3], // mov rbx, rsp
    // prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0): without it an ordinary user may set no filter.
    ...[...movEdi(38), ...movEsi(1), ...xorEdx, ...xorR10, ...xorR8, ...movEax(157), ...syscall],
    // seccomp(SECCOMP_SET_MODE_FILTER, 0, fprog)
    ...[...movEdi(1), ...xorEsi, ...movEdx(fprog), ...movEax(317), ...syscall],
    ...[0x48, 0x85, 0xc0], // test rax, rax
  ];
  const run = [
    ...[0x48, 0x8b, 0x03], // mov rax, [rbx]            argc
    ...[0x48, 0x8b, 0x7b, 0x10], // mov rdi, [rbx+16]    argv[1]
    ...[0x48, 0x8d, 0x73, 0x10], // lea rsi, [rbx+16]    argv + 1
    ...[0x48, 0x8d, 0x54, 0xc3, 0x10], // lea rdx, [rbx+rax*8+16]  envp
    ...[...movEax(59), ...syscall], // execve
    ...exit(127),
  ];
  return Buffer.from([...filter, 0x75, run.length, ...run, ...exit(125)]); // jnz over `run`
}

function elfHeader(): Buffer {
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0); // 64 bits, little-endian, version 1
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(62, 18); // EM_X86_64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(base + headerBytes), 24); // entry
  header.writeBigUInt64LE(64n, 32); // program headers
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  return header;
}

/** One segment: the whole file, to be read and run. */
function programHeader(size: number): Buffer {
  const header = Buffer.alloc(56);
  header.writeUInt32LE(1, 0); // PT_LOAD
  header.writeUInt32LE(5, 4); // PF_R | PF_X
  header.writeBigUInt64LE(BigInt(base), 16);
  header.writeBigUInt64LE(BigInt(base), 24);
  header.writeBigUInt64LE(BigInt(size), 32);
  header.writeBigUInt64LE(BigInt(size), 40);
  header.writeBigUInt64LE(0x1000n, 48);
  return header;
}

function align(offset: number): number {
  return Math.ceil(offset / 16) * 16;
}
