export { networkConfig } from './network-config.ts';
export { type NodeBridge, NodeNetwork, type NodeNetworkOptions, type Plug } from './node-network.ts';
export { formatAddress, isSubnet, macOf, parseAddress, parseSubnet, type Subnet } from './subnet.ts';
