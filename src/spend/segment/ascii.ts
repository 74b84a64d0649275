// The bytes that a line of a segment is made of beside its ids, as write.ts puts them and scan.ts expects them.

export const COMMA = 0x2c;
export const MINUS = 0x2d;
export const ZERO = 0x30;
export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const OPEN = 0x5b;
export const CLOSE = 0x5d;
export const NEWLINE = 0x0a;
export const SPACE = 0x20;
