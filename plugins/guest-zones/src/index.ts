export { guestZones as default, type ZonesConfig, zonesConfig } from './plugin.ts';
export { templateOfZone, zoneJsonOf, zoneState } from './zone-json.ts';
export { liveProperties, updateOfZone, type ZoneChange } from './zone-update.ts';
