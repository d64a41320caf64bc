import { awaitProgram, logBlocks, loggerFunction, passSignalsOn, shellWord } from '@cloudos/host-tools';
import { oldRoot, type ZoneMount } from './userland.ts';
import type { ZoneRoot } from './zone-root.ts';

/** What one run of a zone is made with. */
export interface LaunchPlan {
  readonly launch: string;
  readonly directory: string;
  readonly exitFile: string;
  readonly rootless: boolean;
  readonly hostName: string;
  /** Control groups that the zone joins, and the one for the processes around it. */
  readonly controlGroups: readonly string[];
  readonly shimGroup?: string;
  readonly oomFile?: string;
  /** The bridge's cable. Absent: loopback alone. */
  readonly link?: {
    readonly bridge: string;
    readonly name: string;
    readonly address: string;
    readonly mac: string;
    readonly prefix: number;
  };
  /** Where an overlay is not possible: the directories that are copied to a tmpfs, lowest first. */
  readonly copyToTmpfs?: readonly string[];
  readonly readOnlyCopy: boolean;
  readonly logMaxBytes: number;
  /** Bytes in the current log files. */
  readonly logSizes: { readonly stdout: number; readonly stderr: number };
  /** Words that run the logger of both streams, given the most bytes of a file. Absent: dd(1) for each, without times. */
  readonly logger?: readonly string[];
  readonly root: Pick<ZoneRoot, 'tool' | 'seccomp'>;
  readonly mounts: readonly ZoneMount[];
  readonly user: number;
  /** A limit of processes by resource limit, where there is no control group for it. */
  readonly processMax?: number;
  readonly workingDir: string;
  readonly env: readonly (readonly [name: string, value: string])[];
  /** `--default-signal=…` where env(1) has it: sh starts background programs with two signals ignored. */
  readonly envOptions: readonly string[];
  readonly path: string;
  readonly command: readonly string[];
}

/**
 * The shell script that starts a zone and stays beside it. Roles, by first argument:
 *
 * - `launch` (short-lived, on the host): pipes, loggers, the shim, the cable; ends when the program runs.
 * - `shim` (on the host, one for each zone, outlives the kernel): waits for the zone and records how it ended. It has a
 *   new pid namespace for its children, so its first child is the zone's first process; it forks nothing else, because
 *   nothing can be forked once that one has ended.
 * - `zone`: joins the control groups, makes the remaining namespaces, mounts, waits for `go`, pivots, drops privileges.
 *
 * Nothing of the guest's environment reaches a process before privileges are dropped (`env -i` is the last step), and no
 * command line that stays: those are for everybody on the host to read (proc(5)), and the environment has secrets in it.
 */
export function launchScript(plan: LaunchPlan): string {
  const words = (list: readonly string[]) => list.map(shellWord).join(' ');
  const outer = plan.rootless ? 'unshare --user --map-root-user --pid' : 'unshare --pid';
  const drop = dropPrivileges(plan);
  return `#!/bin/sh
umask 022
LC_ALL=C; export LC_ALL
cd ${shellWord(plan.directory)} || exit 1
${plan.logger ? '' : loggerFunction(plan.logMaxBytes)}
${plan.link ? awaitSending : ''}
start_time() {
  read -r stat <"/proc/$1/stat" || return 1
  set -- \${stat##*) }
  started=\${20}
}
launch() {
  ${plan.shimGroup ? `echo 0 >${shellWord(`${plan.shimGroup}/cgroup.procs`)} 2>/dev/null` : ':'}
  mkfifo -m 666 out err go up || exit 1
  exec 9<>out; exec 3<out; exec 4>out; exec 9<>err; exec 5<err; exec 6>err; exec 9>&-
${loggers(plan)}
  exec 3<&- 5<&-
  exec 9<>go; exec 3<go; exec 5>go; exec 9<>up; exec 7<up; exec 8>up; exec 9>&-
  ( exec 5>&- 7<&-; exec ${outer} sh "$0" shim ) &
  exec 3<&- 4>&- 6>&- 8>&-
  zone=; made=
  while [ -z "$zone" ] || [ -z "$made" ]; do
    read -r word rest <&7 || { echo "the zone ended while it was being made" >&2; exit 1; }
    case $word in
      pid) zone=$rest ;;
      made) made=1 ;;
      *) echo "$word $rest" >failed; exit 1 ;;
    esac
  done
${network(plan)}
  echo go >&5
  exec 5>&-
  while read -r word rest <&7; do
    case $word in
      running) exit 0 ;;
      mounted) ;;
      *) echo "$word $rest" >failed; exit 1 ;;
    esac
  done
  echo "the zone ended before its program ran" >&2
  exit 1
}
shim() {
  ( ${plan.controlGroups.map((group) => `echo 0 >${shellWord(`${group}/cgroup.procs`)} || exit 97`).join('; ') || ':'}
    exec setsid unshare --mount --propagation private --net --uts --ipc --cgroup sh "$0" zone ) &
  zone=$!
  exec 3<&- 4>&- 6>&-
  start_time "$zone"; zone_started=$started
  start_time $$
  echo "${plan.launch} $zone $zone_started $$ $started end" >run
  echo "pid $zone" >&8
  exec 8>&-
  trap '' HUP INT TERM
  wait "$zone"
  status=$?
  oom=0
  ${plan.oomFile ? `while read -r key value; do [ "$key" = oom_kill ] && oom=$value; done <${shellWord(plan.oomFile)}` : ':'}
  echo "${plan.launch} $status $oom" >ended
  exec mv -f ended ${shellWord(plan.exitFile)}
}
zone() {
  echo made >&8
  ( echo ${shellWord(plan.hostName)} >/proc/sys/kernel/hostname ) 2>/dev/null || hostname ${shellWord(plan.hostName)}
  echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
${loopback(plan)}${copied(plan)}  mount --all --fstab ./fstab || { echo "fail HOST_COMMAND_FAILED mount failed" >&8; exit 96; }
${plan.copyToTmpfs && plan.readOnlyCopy ? '  mount -o remount,ro root\n' : ''}  exec 5<${environmentFile} && rm -f ${environmentFile} || exit 98
  read -r word <&3 || exit 98
  cd root && pivot_root . ${oldRoot} && cd / && ${words(plan.root.tool('umount'))} -n -i -c -l /${oldRoot} || { echo "fail HOST_COMMAND_FAILED pivot_root failed" >&8; exit 96; }
${plan.rootless && plan.user === 0 ? '  ( echo 0 >/proc/sys/user/max_user_namespaces ) 2>/dev/null\n' : ''}  exec ${drop} ${words(initCommand(plan))} <&5 >&4 2>&6 3<&- 4>&- 5<&- 6>&-
}
"$1"
`;
}

/** Name of the file in the zone's directory that {@link environmentLine} is handed over in: gone when it was opened. */
export const environmentFile = 'environment';

/** The zone's first process, when it has no privileges any more, and what it runs. It reads {@link environmentLine}. */
export function initCommand({ root, path, workingDir, command }: LaunchPlan): string[] {
  return [...root.tool('sh'), '-c', initScript, 'init', path, workingDir, ...command];
}

/** Lines of sh: takes {@link environmentLine} from standard input. */
export const readEnvironment = `newline='
'
IFS= read -r environment`;

/** Then puts it in front of the words of a command. */
export const prependEnvironment = 'eval "set -- $environment \\"\\$@\\""';

/** The words that come before the program, which give it its environment and no other: a line of sh, whatever they hold. */
export function environmentLine({ root, env, envOptions }: Pick<LaunchPlan, 'root' | 'env' | 'envOptions'>): string {
  const environment = env.map(([name, value]) => `${name}=${value}`);
  const words = [...root.tool('env'), '-i', ...envOptions, ...environment];
  return `${words.map((word) => shellWord(word).replaceAll('\n', `'"$newline"'`)).join(' ')}\n`;
}

/** The prefix of a command that leaves it without capabilities, without a way to get any, and with fewer system calls. */
export function dropPrivileges(
  plan: Pick<LaunchPlan, 'rootless' | 'user' | 'processMax' | 'root'>,
  extra: readonly string[] = [],
): string {
  const { tool, seccomp } = plan.root;
  const most = plan.processMax ? plan.processMax + 2 : undefined;
  const limits = most === undefined ? [] : [...tool('prlimit'), `--nproc=${most}:${most}`];
  const inner =
    plan.rootless && plan.user !== 0
      ? [...tool('unshare'), '--user', `--map-user=${plan.user}`, `--map-group=${plan.user}`]
      : [];
  const identity = plan.rootless ? [] : ['--reuid', String(plan.user), '--regid', String(plan.user), '--clear-groups'];
  const none = inner.length > 0 ? [] : ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all'];
  const privileges = [...tool('setpriv'), ...none, '--no-new-privs', ...(inner.length > 0 ? [] : identity), ...extra];
  return [...limits, ...inner, ...privileges, ...seccomp].map(shellWord).join(' ');
}

function loggers({ logger, logMaxBytes, logSizes }: LaunchPlan): string {
  if (logger) {
    return `  ( exec 4>&- 6>&-; exec ${[...logger, String(logMaxBytes)].map(shellWord).join(' ')} </dev/null >/dev/null 2>&1 ) &`;
  }
  const blocks = (size: number) => logBlocks(logMaxBytes, size);
  return `  ( exec <&3 3<&- 4>&- 5<&- 6>&- >/dev/null 2>&1; logger stdout ${blocks(logSizes.stdout)} ) &
  ( exec <&5 3<&- 4>&- 5<&- 6>&- >/dev/null 2>&1; logger stderr ${blocks(logSizes.stderr)} ) &`;
}

function network({ link }: LaunchPlan): string {
  if (!link) return '';
  return `  ip -batch - <<NET || { echo "fail HOST_COMMAND_FAILED the cable could not be made" >failed; exit 1; }
link add ${link.name} master ${link.bridge} up type veth peer name eth0 address ${link.mac} netns $zone
NET
  nsenter -t "$zone" -n ip -batch - <<NET || { echo "fail HOST_COMMAND_FAILED the address could not be set" >failed; exit 1; }
link set lo up
address add ${link.address}/${link.prefix} dev eth0
link set eth0 up
NET
  await_sending ${link.name}
  await_sending ${link.bridge}`;
}

/** As the spawner's function of that name, which says why. */
const awaitSending = `await_sending() {
  tries=100 state=
  while [ "$tries" -gt 0 ]; do
    { read -r carrier <"/sys/class/net/$1/carrier"; read -r state <"/sys/class/net/$1/operstate"; } 2>/dev/null
    [ "$state" = up ] && return
    tries=$((tries - 1))
    sleep 0.01
  done
}`;

function loopback({ link }: LaunchPlan): string {
  return link ? '' : '  ip link set lo up 2>/dev/null\n';
}

function copied({ copyToTmpfs }: LaunchPlan): string {
  if (!copyToTmpfs) return '';
  const copies = copyToTmpfs.map((from) => `cp -a ${shellWord(`${from}/.`)} root/`).join(' && ');
  return `  mount -t tmpfs -o mode=755,nosuid,nodev tmpfs root && ${copies} || { echo "fail HOST_COMMAND_FAILED the root could not be made" >&8; exit 96; }\n`;
}

/**
 * The zone's first process: reaps, passes signals on, and ends as the program does. Arguments: search path, working
 * directory, then the program with its arguments. A signal is never lost: that the program runs is said by its own process,
 * after that has given up the handlers which it inherits.
 */
const initScript = `
${readEnvironment} || { echo "fail GUEST_START_FAILED the environment cannot be read" >&8; exit 96; }
exec </dev/null
search=$1; dir=$2; shift 2
cd "$dir" 2>/dev/null || { echo "fail GUEST_SPEC_INVALID the working directory $dir cannot be entered" >&8; exit 126; }
find_program() {
  case $1 in
    */*) [ -x "$1" ] && [ ! -d "$1" ]; return ;;
  esac
  IFS=:
  for part in $search; do [ -x "$part/$1" ] && [ ! -d "$part/$1" ] && return 0; done
  return 1
}
find_program "$@" || { echo "fail COMMAND_NOT_FOUND" >&8; exit 127; }
${passSignalsOn}
( trap - TERM INT HUP USR1 USR2; ${prependEnvironment}; echo running >&8; exec 8>&-; exec "$@" ) &
program=$!
unset environment
exec 8>&-
${awaitProgram}
exit $status
`;
