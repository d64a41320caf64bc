import { findTool } from '@cloudos/host-tools';

/**
 * The command in such a way that it is killed when its parent dies, however that happens (prctl(2), PR_SET_PDEATHSIG). Who
 * gives up privileges does so before: to become another user undoes it. As it is on a host without setpriv.
 */
export function killedWithParent(command: readonly string[]): string[] {
  const setpriv = findTool('setpriv');
  return setpriv === undefined ? [...command] : [setpriv, '--pdeathsig', 'KILL', ...command];
}
