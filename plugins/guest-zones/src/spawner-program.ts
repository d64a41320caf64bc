import { readFileSync } from 'node:fs';
import { timedLoggerFunctions } from '@cloudos/host-tools';

const source = readFileSync(new URL('../spawner/spawner.pl', import.meta.url), 'utf8');

/** Numbers of system calls by processor: asm/unistd_64.h, asm-generic/unistd.h. */
const callNumbers: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  x64: {
    mount: 165,
    umount2: 166,
    pivot_root: 155,
    unshare: 272,
    sethostname: 170,
    setsid: 112,
    prctl: 157,
    capset: 126,
    setgroups: 116,
    setresuid: 117,
    setresgid: 119,
    mknodat: 259,
    dup3: 292,
    clone3: 435,
  },
  arm64: {
    mount: 40,
    umount2: 39,
    pivot_root: 41,
    unshare: 97,
    sethostname: 161,
    setsid: 157,
    prctl: 167,
    capset: 91,
    setgroups: 159,
    setresuid: 147,
    setresgid: 149,
    mknodat: 33,
    dup3: 24,
    clone3: 435,
  },
};

/**
 * The program that launches zones, in perl, which makes system calls by itself: a zone that is made by tools runs eighteen
 * programs, one that is made by this runs the three that live in it. Undefined for a processor whose calls are not known.
 *
 * Its argument is the name that it goes by. It reads requests from standard input, a line each: `<id> <launch> <directory>`
 * begins a launch, `<id> kill` ends one that has not come to run, `<id> unplug <link>` removes a cable. It answers with
 * `<id> ok`, or `<id> fail <code> <words>`, and `<id> end` when nobody works on it any more. For each launch it forks, and
 * what is forked does as {@link launchScript}'s roles do: it takes the plan ({@link launchPlanText}) by renaming it, forks the
 * logger and the zone's first process, plugs the cable in (rtnetlink(7)), with the address (netdevice(7)), lets the zone go
 * when that is done, and stays beside it to record how it ended. Meanwhile the zone's first process joins the control groups,
 * makes its other namespaces and mounts; then it pivots, drops privileges and becomes sh.
 *
 * Whoever writes a process into `cgroup.procs` waits until every processor has seen that processes move, 10 to 20 ms on a
 * busy machine. A thread that writes itself into `tasks` of v1 need not, nor does a process that is born into its group of v2
 * (clone(2), CLONE_INTO_CGROUP).
 */
export function spawnerProgram(architecture: string = process.arch): string | undefined {
  const numbers = callNumbers[architecture];
  if (!numbers) return undefined;
  const table = Object.entries(numbers).map(([name, number]) => `${name} => ${number}`);
  return `${timedLoggerFunctions}\nmy %call = (${table.join(', ')});\n${source}`;
}
