// The most tokens that the prompt in a parsed body can be: one pass over its values, no tokenizer.

/** An image of any size in any detail, and in low detail. gpt-4o-mini's, of all published, take the most tokens. */
const IMAGE = 50_000;
const IMAGE_LOW = 2_900;
/** Audio: tokens a second, and the fewest bytes that hold a second (mp3 at 8 kbit/s). */
const AUDIO_TOKENS_A_SECOND = 10;
const AUDIO_BYTES_A_SECOND = 1_000;
/** What a number, true, false or null can be as text. */
const SCALAR = 24;
/** Around each value: what separates it, and what frames a message. */
const PER_VALUE = 2;
/** Deeper is refused before (bounds.max_json_depth). */
const DEEPEST = 1_000;

/** Members whose presence says that the provider adds what it holds. */
const HELD: ReadonlySet<string> = new Set([
  'previous_response_id',
  'conversation',
  'prompt_id',
  'file_id',
  'file_url',
]);

export interface PromptMeasure {
  readonly tokens: number;
  /** Of these: images and audio. */
  readonly image: number;
  readonly audio: number;
  /** The provider adds something to it that is not in the body. */
  readonly open: boolean;
}

const NOTHING: PromptMeasure = Object.freeze({ tokens: 0, image: 0, audio: 0, open: false });

export function measurePrompt(body: Readonly<Record<string, unknown>> | null): PromptMeasure {
  if (body === null) return NOTHING;
  const tape = new Tape();
  tape.object(body, 0);
  // A stored prompt is named by an object; the prompt of a completion is a text or a list.
  const prompt = body['prompt'];
  if (typeof prompt === 'object' && prompt !== null && !Array.isArray(prompt)) tape.open = true;
  return {
    tokens: tape.text + tape.image + tape.audio,
    image: tape.image,
    audio: tape.audio,
    open: tape.open,
  };
}

type Members = Readonly<Record<string, unknown>>;

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null;
}

class Tape {
  text = 0;
  image = 0;
  audio = 0;
  open = false;

  object(value: Members, depth: number): void {
    const type = value['type'];
    if (type === 'image_url' || type === 'input_image' || type === 'image') return this.picture(value);
    for (const name in value) {
      this.text += name.length * 3 + PER_VALUE;
      const member = value[name];
      if (member === null || member === undefined) this.text += SCALAR;
      else if (HELD.has(name)) this.open = true;
      else if (name === 'input_audio') this.sound(member);
      else this.value(member, depth + 1);
    }
  }

  private value(value: unknown, depth: number): void {
    if (typeof value === 'string') this.text += Buffer.byteLength(value) + PER_VALUE;
    else if (Array.isArray(value)) {
      for (const each of value) {
        // A list of token numbers has as many tokens as numbers.
        if (typeof each === 'number') this.text += PER_VALUE;
        else this.value(each, depth + 1);
      }
    } else if (isMembers(value) && depth < DEEPEST) this.object(value, depth);
    else this.text += SCALAR;
  }

  private picture(part: Members): void {
    const inner = part['image_url'];
    const detail = part['detail'] ?? (isMembers(inner) ? inner['detail'] : undefined);
    this.image += detail === 'low' ? IMAGE_LOW : IMAGE;
  }

  private sound(part: unknown): void {
    const data = isMembers(part) ? part['data'] : undefined;
    const bytes = typeof data === 'string' ? data.length * 0.75 : 0;
    this.audio += Math.ceil((bytes / AUDIO_BYTES_A_SECOND) * AUDIO_TOKENS_A_SECOND) + SCALAR;
  }
}
