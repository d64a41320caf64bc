export { guestZones as default, type ZonesConfig, zonesConfig } from './plugin.ts';
