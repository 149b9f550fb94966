export declare const misjudged: string;
export declare function findings(log: string): string[];
export declare function hazards(log: string): number;
