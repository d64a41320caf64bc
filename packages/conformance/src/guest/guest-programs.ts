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
  /** Prints `first`, and `last` some 300 ms later, then ends with 0. */
  printSlowly(): GuestProgram;
  /** Prints the value of the variable and the working directory, one line each, then ends. */
  printContext(variable: string): GuestProgram;
  /** Answers every HTTP request on the port with status 200 and that body. */
  httpServer(port: number, body: string): GuestProgram;
  /** Uses that much memory (touched, not just reserved), prints `done`, and runs on. */
  allocate(bytes: number): GuestProgram;
  /** Tries to have that many processes of its own at once, prints `<n> running` with how many it got, and runs on. */
  spawnProcesses(count: number): GuestProgram;
  /** Uses as much processor time as it gets. */
  burnCpu(): GuestProgram;
}

/** Commands for `exec`. */
export interface GuestCommands {
  exitWith(code: number): readonly string[];
  /** Copies standard input to standard output until it ends. */
  copyInput(): readonly string[];
  /** Prints `out` to standard output and `err` to standard error. */
  printBoth(): readonly string[];
  /** Prints the value of the variable. */
  printVariable(name: string): readonly string[];
  /** Prints `<rows> <columns>` of its terminal. */
  printTerminalSize(): readonly string[];
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

export const defaultPrograms: GuestPrograms = {
  sleepForever: () => ({ command: ['/bin/sh', '-c', 'exec sleep 1000000'] }),
  ignoreTerm: () => shell("trap '' TERM; echo ready; while :; do sleep 1000; done"),
  exitWith: (code, afterMs = 0) => shell('sleep "$1"; exit "$2"', String(afterMs / 1000), String(code)),
  killItself: () => shell('kill -KILL $$'),
  printLines: (lines, thenRun) =>
    shell(`echo oops >&2; for line; do echo "$line"; done; ${thenRun ? 'exec sleep 1000000' : 'exit 0'}`, ...lines),
  printSlowly: () => shell('echo first; sleep 0.3; echo last'),
  printContext: (variable) => shell(`printf '%s\\n' "$${variable}"; pwd`),
  httpServer: (port, body) => ({ command: ['node', '-e', httpScript], args: [String(port), body] }),
  allocate: (bytes) => ({ command: ['node', '-e', allocateScript], args: [String(bytes)] }),
  spawnProcesses: (count) => ({ command: ['node', '-e', spawnScript], args: [String(count)] }),
  burnCpu: () => shell('while :; do :; done'),
};

export const defaultCommands: GuestCommands = {
  exitWith: (code) => ['/bin/sh', '-c', `exit ${code}`],
  copyInput: () => ['cat'],
  printBoth: () => ['/bin/sh', '-c', 'echo out; echo err >&2'],
  printVariable: (name) => ['/bin/sh', '-c', `printf '%s' "$${name}"`],
  printTerminalSize: () => ['stty', 'size'],
};

const awkAllocate =
  'BEGIN{s="x";while(length(s)<1048576)s=s s;for(i=0;i*1048576<n;i++)a[i]=s i;print "done";fflush();system("sleep 1000000")}';

/** Counts by the shell's own means: at the limit nothing more can be forked. */
const shellSpawn = [
  '( i=0; while [ "$i" -lt "$1" ]; do sleep 1000000 & i=$((i+1)); done ) 2>/dev/null; n=0;',
  'for p in /proc/[0-9]*; do read -r name <"$p/comm" || continue; [ "$name" = sleep ] && n=$((n+1)); done;',
  'echo "$n running"; exec sleep 1000000',
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
};
