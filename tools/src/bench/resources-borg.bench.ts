import { resourcesBench } from './resources/resources-rows.ts';

export default resourcesBench({ manager: 'borg', plugin: 'resources-borg', timesFullScan: 30 });
