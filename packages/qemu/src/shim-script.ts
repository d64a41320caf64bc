import { logBlocks, loggerFunction, shellWord } from '@cloudos/host-tools';

/** Where what one of several containers writes is kept. */
export interface ContainerLogs {
  readonly directory: string;
  readonly logSizes: ShimPlan['logSizes'];
}

/** What the script beside a run of QEMU does. */
export interface ShimPlan {
  readonly launch: string;
  readonly directory: string;
  /** Absent: QEMU is run by something else; the script keeps the logs alone, and ends when its input does. */
  readonly child?: {
    readonly command: readonly string[];
    readonly exitFile: string;
    readonly controlGroups: readonly string[];
    readonly oomFile?: string | undefined;
    /** Opened for reading as 3 and on. */
    readonly files: readonly string[];
  };
  readonly shimGroup?: string | undefined;
  /** Words that run the logger of both consoles, given the most bytes of a file. Absent: dd(1) for each, without times. */
  readonly logger?: readonly string[] | undefined;
  /** A third console (`m/console`) is kept too, in a file of that name. */
  readonly console?: boolean | undefined;
  readonly logMaxBytes: number;
  /** Bytes in the current log files. */
  readonly logSizes: { readonly stdout: number; readonly stderr: number };
  /** Of containers beside the first: `m/out1`, `m/err1`, and so on. */
  readonly containers?: readonly ContainerLogs[];
}

/**
 * The shell script that stays beside a run of QEMU and outlives the kernel. Loggers read the consoles from FIFOs
 * (`m/out`, `m/err`) and rotate their files; the shim waits for QEMU and records how it ended.
 */
export function shimScript(plan: ShimPlan): string {
  return `#!/bin/sh
umask 077
LC_ALL=C; export LC_ALL
cd ${shellWord(plan.directory)} || exit 1
${plan.logger && !plan.console ? '' : loggerFunction(plan.logMaxBytes)}
start_time() {
  read -r stat <"/proc/$1/stat" || return 1
  set -- \${stat##*) }
  started=\${20}
}
${plan.shimGroup ? `echo 0 >${shellWord(`${plan.shimGroup}/cgroup.procs`)} 2>/dev/null` : ':'}
${containerLoggers(plan)}
mkfifo -m 622 m/out m/err || exit 1
exec 9<>m/out; exec 3<m/out; exec 4>m/out; exec 9<>m/err; exec 5<m/err; exec 6>m/err; exec 9>&-
${plan.console ? consoleLogger(plan) : ':'}
${loggers(plan)}
exec 3<&- 5<&-
${plan.child ? supervise(plan, plan.child) : 'echo ready; exec >/dev/null; cat >/dev/null'}
`;
}

/** Holds 8, the end that is written to, as long as the script is there. */
function consoleLogger({ logMaxBytes }: ShimPlan): string {
  return `mkfifo -m 622 m/console || exit 1
exec 9<>m/console; exec 7<m/console; exec 8>m/console; exec 9>&-
( exec <&7 3<&- 4>&- 5<&- 6>&- 7<&- 8>&- >/dev/null 2>&1; logger console ${logBlocks(logMaxBytes, 0)} ) &
exec 7<&-`;
}

function loggers({ logger, logMaxBytes, logSizes }: ShimPlan): string {
  if (logger) {
    const words = [...logger, String(logMaxBytes)].map(shellWord).join(' ');
    return `( exec 4>&- 6>&- 8>&-; exec ${words} </dev/null >/dev/null 2>&1 ) &`;
  }
  const blocks = (size: number) => logBlocks(logMaxBytes, size);
  return `( exec <&3 3<&- 4>&- 5<&- 6>&- 8>&- >/dev/null 2>&1; logger stdout ${blocks(logSizes.stdout)} ) &
( exec <&5 3<&- 4>&- 5<&- 6>&- 8>&- >/dev/null 2>&1; logger stderr ${blocks(logSizes.stderr)} ) &`;
}

/** Each waits in the background for QEMU to open its pipes, and ends when QEMU has closed them. */
function containerLoggers({ containers = [], logger, logMaxBytes }: ShimPlan): string {
  const pipe = (name: string) => shellWord(`m/${name}`);
  const blocks = (size: number) => logBlocks(logMaxBytes, size);
  const lines = containers.map(({ directory, logSizes }, index) => {
    const [out, err, to] = [pipe(`out${index + 1}`), pipe(`err${index + 1}`), shellWord(directory)];
    const make = `mkfifo -m 622 ${out} ${err} || exit 1`;
    if (logger) {
      const words = [...logger, String(logMaxBytes)].map(shellWord).join(' ');
      return `${make}\n( exec 3<${out} 5<${err} </dev/null >/dev/null 2>&1; cd ${to} && exec ${words} ) &`;
    }
    const one = (from: string, stream: string, size: number) =>
      `( exec <${from} >/dev/null 2>&1; cd ${to} && logger ${stream} ${blocks(size)} ) &`;
    return [make, one(out, 'stdout', logSizes.stdout), one(err, 'stderr', logSizes.stderr)].join('\n');
  });
  return lines.join('\n') || ':';
}

function supervise(plan: ShimPlan, child: NonNullable<ShimPlan['child']>): string {
  const join = child.controlGroups.map((file) => `echo 0 >${shellWord(file)} || exit 97`);
  const open = child.files.map((file, index) => `exec ${index + 3}<${shellWord(file)} || exit 98`);
  return `trap '' HUP INT TERM
( trap - HUP INT TERM
  cd m; exec 4>&- 6>&- 8>&-
  ${[...join, ...open, `exec ${child.command.map(shellWord).join(' ')}`].join('\n  ')} ) </dev/null >qemu.log 2>&1 &
child=$!
start_time "$child"; child_started=$started
start_time $$
echo "${plan.launch} $child $child_started $$ $started end" >run.tmp && mv -f run.tmp run
echo ready; exec >/dev/null
wait "$child"
status=$?
oom=0
${child.oomFile ? `while read -r key value; do [ "$key" = oom_kill ] && oom=$value; done <${shellWord(child.oomFile)}` : ':'}
echo "${plan.launch} $status $oom" 1<>ended
exec mv -f ended ${shellWord(child.exitFile)}`;
}
