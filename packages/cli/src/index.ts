export type { Distribution } from './distribution.ts';
export { exitCodeOf, exitCodes } from './exit-codes.ts';
export { main } from './main.ts';
