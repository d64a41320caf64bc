export { TokenStore } from '../access/token-store.ts';
export { FakeExec } from './fake-exec.ts';
export { FakeKernel } from './fake-kernel.ts';
export { type FakeEvent, FakeLog } from './fake-log.ts';
export { LogKernel } from './log-kernel.ts';
