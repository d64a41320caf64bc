export { default, type SimulatedHostConfig, simulatedHostConfig } from './plugin.ts';
export { SimulatedHosts, simulatedHosts } from './simulated-hosts.ts';
