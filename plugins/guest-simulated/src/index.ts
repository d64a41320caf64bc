export { default, type SimulatedGuestsConfig, simulatedGuestsConfig } from './plugin.ts';
export type { PrintedLine, Program, ProgramEnd } from './simulated-program.ts';
export {
  firstPid,
  linesMax,
  type OperationCounts,
  type SimulatedGuest,
  SimulatedNode,
  SimulatedWorld,
  simulatedWorld,
} from './simulated-world.ts';
