import { type GuestConformanceOptions, type GuestPrograms, guestConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

const script = (text: string) => ({ command: ['sh', '-c', text] });

const programs: Partial<GuestPrograms> = {
  sleepForever: () => ({ command: ['sleep'] }),
  ignoreTerm: () => script("trap '' TERM; echo ready; sleep"),
  exitWith: (code, afterMs = 0) => ({ command: ['exit'], args: [String(code), String(afterMs)] }),
  killItself: () => ({ command: ['signal', 'SIGKILL'] }),
  printLines: (lines, thenRun) =>
    script(`echo oops >&2; ${lines.map((line) => `echo ${line}`).join('; ')}; ${thenRun ? 'sleep' : 'exit 0'}`),
  printSlowly: (pauseMs = 300) => script(`echo first; sleep ${pauseMs / 1000}; echo last`),
  printContext: (variable) => script(`printenv ${variable}; pwd`),
  httpServer: () => ({ command: ['sleep'] }),
  allocate: (bytes) => ({ command: ['allocate', String(bytes)] }),
  spawnProcesses: (count) => ({ command: ['processes', String(count)] }),
  forkBomb: () => script('echo ready; processes 1000'),
  burnCpu: () => ({ command: ['burn'] }),
};

const state: GuestConformanceOptions['state'] = {
  write: async (harness, { instance }, text) => {
    await harness.exec(instance, { command: ['set', 'state', text] });
  },
  read: async (harness, { instance }) => (await harness.exec(instance, { command: ['get', 'state'] })).stdout.trim(),
};

const commands = { printTerminalSize: () => ['stty', 'size'] };

guestConformance(plugin, {
  config: { world: 'conformance' },
  image: 'any',
  programs,
  commands,
  state,
  takesAnyOptions: true,
});
