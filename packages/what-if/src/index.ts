export { Alibaba2018, type AlibabaTable, alibabaScale, alibabaTableOf } from './alibaba-2018.ts';
export { chart } from './chart.ts';
export { fieldsOf } from './csv.ts';
export { Google2019, googleScale, type MachineScale, type TableRow } from './google-2019.ts';
export { LogDeclarations, type WorkloadLife } from './log-declarations.ts';
export { LogDemand } from './log-demand.ts';
export type { OrchestrationMeasures } from './orchestration-tally.ts';
export { RecordedRun } from './recorded-run.ts';
export { type Sample, type SimulatedRun, type SimulationOptions, samplesMax, simulate } from './simulation.ts';
export { type StackSimulationOptions, simulateStack } from './stack-simulation.ts';
export {
  inOrder,
  malformed,
  parseRecord,
  recordsMax,
  type TraceInput,
  type TraceRecord,
  traceRecord,
} from './trace-record.ts';
export { csvColumns, csvHeader, csvLine, readTrace } from './trace-text.ts';
