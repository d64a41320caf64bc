/** What a guest runs: goes into `command`, `args` and `env` of its template. */
export interface GuestProgram {
  readonly command: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
}

/**
 * The programs that the suite runs in guests. The defaults need `/bin/sh` and `node` in the guest, which every
 * `host:` image has; a runtime with other images, or one that only plays guests, passes its own.
 */
export interface GuestPrograms {
  /** Runs until it is asked to end, and ends at once when asked politely. */
  sleepForever(): GuestProgram;
  /** Prints `ready`, then runs on and takes no notice of the polite signal. */
  ignoreTerm(): GuestProgram;
  /** Ends by itself with that code, after that many milliseconds. */
  exitWith(code: number, afterMs?: number): GuestProgram;
  /** Ends by the signal SIGKILL, sent by nobody but itself. */
  killItself(): GuestProgram;
  /** Prints each of the lines to standard output, `oops` to standard error, then ends with 0 or runs on. */
  printLines(lines: readonly string[], thenRun: boolean): GuestProgram;
  /** Prints `first`, and `last` that many milliseconds later (300 where none are given), then ends with 0. */
  printSlowly(pauseMs?: number): GuestProgram;
  /** Prints the value of the variable and the working directory, one line each, then ends. */
  printContext(variable: string): GuestProgram;
  /** Answers every HTTP request on the port with status 200 and that body. */
  httpServer(port: number, body: string): GuestProgram;
  /** Uses that much memory (touched, not just reserved), prints `done`, and runs on. */
  allocate(bytes: number): GuestProgram;
  /** Tries to have that many processes of its own at once, prints `<n> running` with how many it got, and runs on. */
  spawnProcesses(count: number): GuestProgram;
  /**
   * Prints `ready`, and makes processes that make processes, until it can have no more; what it got stays. Absent where
   * guests have no processes.
   */
  forkBomb?(): GuestProgram;
  /** Uses as much processor time as it gets. */
  burnCpu(): GuestProgram;
  /**
   * Writes that much to the file, then prints `<n> written: <why>` with how much it got and `all` or the reason
   * (strerror), and runs on.
   */
  fill(path: string, bytes: number): GuestProgram;
  /** Prints the lines `CapEff`, `CapBnd`, `NoNewPrivs` and `Seccomp` of its `/proc/self/status`, then ends. */
  printPrivileges(): GuestProgram;
  /** Tries what only the privileged may, prints `<what> refused` or `<what> allowed` for each, then ends. */
  tryPrivileges?(): GuestProgram;
}

/** Commands for `exec`. */
export interface GuestCommands {
  exitWith(code: number): readonly string[];
  /** Copies standard input to standard output until it ends. */
  copyInput(): readonly string[];
  /** Starts a process that holds standard output, prints `ready`, and waits for it. */
  holdOutput(): readonly string[];
  /** Prints `out` to standard output and `err` to standard error. */
  printBoth(): readonly string[];
  /** Prints the value of the variable. */
  printVariable(name: string): readonly string[];
  /**
   * Prints `<rows> <columns>` of its terminal, and runs on: a daemon of LXD at times drops what a command on a terminal says
   * right before its end.
   */
  printTerminalSize(): readonly string[];
  /** Prints what an HTTP server answers. */
  fetch(url: string): readonly string[];
  /** Writes the text to the file. Ends with another code than 0 when it cannot. */
  write(path: string, text: string): readonly string[];
  /** Prints the file. */
  read(path: string): readonly string[];
}

const shell = (script: string, ...args: string[]): GuestProgram => ({
  command: ['/bin/sh', '-c', script, 'sh'],
  args,
});

const httpScript =
  "require('http').createServer((q,s)=>s.end(process.argv[2])).listen(+process.argv[1],'0.0.0.0');process.on('SIGTERM',()=>process.exit(0))";

const allocateScript =
  "const keep=[];let left=+process.argv[1];while(left>0){const n=Math.min(left,1<<20);keep.push(Buffer.alloc(n,1));left-=n}console.log('done');setInterval(()=>keep.length,1e6)";

const spawnScript = [
  "const{spawn}=require('child_process');let got=0,open=+process.argv[1];",
  "const say=()=>{if(--open===0)console.log(got+' running')};",
  'for(let i=+process.argv[1];i>0;i--){let c;try{c=spawn("sleep",["1000"],{stdio:"ignore"})}catch{say();continue}',
  "c.on('spawn',()=>{got++;say()});c.on('error',say)}setInterval(()=>{},1e6)",
].join('');

const fillScript = [
  "const fs=require('fs');let file,n=0,why='all';const block=Buffer.alloc(65536,7),want=+process.argv[2];",
  "try{file=fs.openSync(process.argv[1],'w');while(n<want)n+=fs.writeSync(file,block);fs.fsyncSync(file)}",
  "catch(e){why={ENOSPC:'No space left on device',EDQUOT:'Disk quota exceeded',EROFS:'Read-only file system',EACCES:'Permission denied'}[e.code]||e.code}",
  "console.log(n+' written: '+why);setInterval(()=>{},1e6)",
].join('');

/** Each of them forks two of its kind, then stays: twice as many at each step, up to the limit. */
const forkBombScript =
  'bomb() { bomb & bomb & exec sleep 1000000; }; echo ready; bomb 2>/dev/null & exec sleep 1000000';

const privilegesScript = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status";

export const defaultPrograms: GuestPrograms = {
  sleepForever: () => ({ command: ['/bin/sh', '-c', 'exec sleep 1000000'] }),
  ignoreTerm: () => shell("trap '' TERM; echo ready; while :; do sleep 1000; done"),
  exitWith: (code, afterMs = 0) => shell('sleep "$1"; exit "$2"', String(afterMs / 1000), String(code)),
  killItself: () => shell('kill -KILL $$'),
  printLines: (lines, thenRun) =>
    shell(`echo oops >&2; for line; do echo "$line"; done; ${thenRun ? 'exec sleep 1000000' : 'exit 0'}`, ...lines),
  printSlowly: (pauseMs = 300) => shell('echo first; sleep "$1"; echo last', String(pauseMs / 1000)),
  printContext: (variable) => shell(`printf '%s\\n' "$${variable}"; pwd`),
  httpServer: (port, body) => ({ command: ['node', '-e', httpScript], args: [String(port), body] }),
  allocate: (bytes) => ({ command: ['node', '-e', allocateScript], args: [String(bytes)] }),
  spawnProcesses: (count) => ({ command: ['node', '-e', spawnScript], args: [String(count)] }),
  forkBomb: () => shell(forkBombScript),
  burnCpu: () => shell('while :; do :; done'),
  fill: (path, bytes) => ({ command: ['node', '-e', fillScript], args: [path, String(bytes)] }),
  printPrivileges: () => shell(privilegesScript),
};

export const defaultCommands: GuestCommands = {
  exitWith: (code) => ['/bin/sh', '-c', `exit ${code}`],
  copyInput: () => ['cat'],
  holdOutput: () => ['/bin/sh', '-c', 'sleep 1000000 &\necho ready; wait'],
  printBoth: () => ['/bin/sh', '-c', 'echo out; echo err >&2'],
  printVariable: (name) => ['/bin/sh', '-c', `printf '%s' "$${name}"`],
  printTerminalSize: () => ['/bin/sh', '-c', 'stty size; exec cat >/dev/null'],
  fetch: (url) => ['node', '-e', `require('http').get(process.argv[1],r=>r.pipe(process.stdout))`, url],
  write: (path, text) => ['/bin/sh', '-c', 'printf %s "$1" >"$2"', 'sh', text, path],
  read: (path) => ['cat', path],
};

/** The commands for an image that has busybox. */
export const busyboxCommands: GuestCommands = {
  ...defaultCommands,
  fetch: (url) => ['wget', '-q', '-O', '-', url],
};

const awkAllocate =
  'BEGIN{s="x";while(length(s)<1048576)s=s s;for(i=0;i*1048576<n;i++)a[i]=s i;print "done";fflush();system("sleep 1000000")}';

/** Counts by the shell's own means: at the limit nothing more can be forked. */
const shellSpawn = [
  '( i=0; while [ "$i" -lt "$1" ]; do sleep 1000000 & i=$((i+1)); done ) 2>/dev/null; n=0;',
  'for p in /proc/[0-9]*; do read -r name <"$p/comm" || continue; [ "$name" = sleep ] && n=$((n+1)); done;',
  'echo "$n running"; exec sleep 1000000',
].join(' ');

const shellFill = [
  'said=$(dd if=/dev/zero of="$1" bs=65536 count="$2" 2>&1) && why=all || why=$(echo "$said" | sed "s/.*: //");',
  'size=$(stat -c %s "$1" 2>/dev/null || echo 0); echo "$size written: $(echo "$why" | head -n 1)"; exec sleep 1000000',
].join(' ');

/** The programs of the suite for an image that has busybox, with its applets in the search path, and nothing else. */
export const busyboxPrograms: GuestPrograms = {
  ...defaultPrograms,
  httpServer: (port, body) =>
    shell(
      'mkdir -p /tmp/www && printf %s "$2" >/tmp/www/index.html && exec httpd -f -p "$1" -h /tmp/www',
      String(port),
      body,
    ),
  allocate: (bytes) => ({ command: ['awk', '-v', `n=${bytes}`, awkAllocate] }),
  spawnProcesses: (count) => shell(shellSpawn, String(count)),
  fill: (path, bytes) => shell(shellFill, path, String(Math.ceil(bytes / 65_536))),
};

/** The programs for the image `shell:1` of `@cloudos/test-images`: what busybox has, and `/bin/probe`. */
export const shellPrograms: GuestPrograms = {
  ...busyboxPrograms,
  // As the first process of a pid namespace a program gets no signal that it does not handle.
  sleepForever: () => shell("trap 'exit 0' TERM; sleep 1000000 & wait"),
  printLines: (lines, thenRun) => {
    const last = thenRun ? "trap 'exit 0' TERM; sleep 1000000 & wait" : 'exit 0';
    return shell(`echo oops >&2; for line; do echo "$line"; done; ${last}`, ...lines);
  },
  httpServer: (port, body) => ({ command: ['/bin/probe', 'http', String(port), body] }),
  allocate: (bytes) => ({ command: ['/bin/probe', 'allocate', String(bytes)] }),
  spawnProcesses: (count) => ({ command: ['/bin/probe', 'spawn', String(count)] }),
  fill: (path, bytes) => ({ command: ['/bin/probe', 'fill', path, String(bytes)] }),
  tryPrivileges: () => ({ command: ['/bin/probe', 'privileges'] }),
};
