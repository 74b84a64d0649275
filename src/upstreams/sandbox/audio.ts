// POST /v1/audio/speech, /v1/audio/transcriptions and /v1/audio/translations. Speech is a tone a word in a WAV
// file that carries its text; a transcription of such a file gives the text back, and of any other file says what
// file it was.

import { z } from 'zod';
import type { Form, Inquiry } from './inquiry.ts';
import { jsonReply, type Reply, SERVER_ERROR } from './plan.ts';
import { badRequest, missing, read } from './refusal.ts';
import { hash32 } from './seed.ts';
import type { Setting } from './setting.ts';
import { readWav, SAMPLE_RATE, speak, wavFile } from './wav.ts';

const SECONDS_PER_WORD = 0.3;
const MOST_SECONDS = 30;
const TOKENS_PER_SECOND = 10;

const speechRequest = z.looseObject({
  model: z.string(),
  input: z.string().min(1).max(4_096),
  voice: z.union([z.string(), z.looseObject({ id: z.string() })]),
  response_format: z.enum(['mp3', 'opus', 'aac', 'flac', 'wav', 'pcm']).nullish(),
  stream_format: z.enum(['sse', 'audio']).nullish(),
  speed: z.number().min(0.25).max(4).nullish(),
});

export function speech(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(speechRequest, inquiry.body);
  const words = request.input.trim().split(/\s+/).length;
  const seconds = Math.min(MOST_SECONDS, (words * SECONDS_PER_WORD) / (request.speed ?? 1));
  const samples = speak(request.input, seconds);
  const raw = request.response_format === 'pcm';
  const audio = raw ? samples : wavFile(samples, request.input);
  if (request.stream_format === 'sse') return speechEvents(audio, request.input, seconds, inquiry, setting);
  // Whatever form was asked for, what comes is WAV and says so: there is no encoder here to pretend with.
  const type = raw ? `audio/pcm;rate=${SAMPLE_RATE}` : 'audio/wav';
  return { kind: 'whole', status: 200, headers: { 'content-type': type }, body: audio };
}

const PART_BYTES = 8 * 1024;

function speechEvents(
  audio: Buffer,
  text: string,
  seconds: number,
  inquiry: Inquiry,
  setting: Setting,
): Reply {
  const events: string[] = [];
  for (let at = 0; at < audio.length; at += PART_BYTES) {
    const part = audio.subarray(at, at + PART_BYTES).toString('base64');
    events.push(sse({ type: 'speech.audio.delta', audio: part }));
  }
  const input = setting.tokenizer.count(text).tokens;
  const output = Math.ceil(seconds * TOKENS_PER_SECOND);
  const usage = { input_tokens: input, output_tokens: output, total_tokens: input + output };
  events.push(sse({ type: 'speech.audio.done', ...(inquiry.script.usage ? { usage } : {}) }));
  return { kind: 'stream', events, count: events.length, end: '', errorEvent: sse({ error: SERVER_ERROR }) };
}

const FORMATS = ['json', 'text', 'srt', 'verbose_json', 'vtt', 'diarized_json'] as const;

/** @param task `translate`: into English, which is what the sandbox says anyway */
export function transcription(inquiry: Inquiry, setting: Setting, task: 'transcribe' | 'translate'): Reply {
  const form = inquiry.form;
  if (form === null) {
    throw badRequest(
      "The body must be a form: 'Content-Type: multipart/form-data', with 'file' and 'model'.",
      null,
      null,
    );
  }
  if (form.file === null || form.file.field !== 'file') throw missing('file');
  if (inquiry.model === '') throw missing('model');
  const format = formatOf(form);
  const wav = readWav(form.file.bytes);
  // For a file of another kind, as for 16 kB/s, which is what speech in mp3 takes.
  const seconds = Math.max(0.1, wav?.seconds ?? form.file.bytes.length / 16_000);
  const text = wav?.comment || describe(form.file, seconds);
  const made = setting.tokenizer.encode(text.toWellFormed());
  const audio = Math.ceil(seconds * TOKENS_PER_SECOND);
  const prompt = setting.tokenizer.count(form.fields.get('prompt')?.[0] ?? '').tokens;
  const usage = {
    type: 'tokens',
    input_tokens: audio + prompt,
    input_token_details: { text_tokens: prompt, audio_tokens: audio },
    output_tokens: made.length,
    total_tokens: audio + prompt + made.length,
  };
  const used = inquiry.script.usage ? { usage } : {};
  if (form.fields.get('stream')?.[0] === 'true') {
    function* events(): Generator<string> {
      for (const delta of setting.tokenizer.pieces(made)) {
        if (delta !== '') yield sse({ type: 'transcript.text.delta', delta });
      }
      yield sse({ type: 'transcript.text.done', text, ...used });
    }
    return {
      kind: 'stream',
      events: events(),
      count: made.length + 1,
      end: 'data: [DONE]\n\n',
      errorEvent: sse({ error: SERVER_ERROR }),
    };
  }
  return inFormat(format, { text, seconds, task, tokens: made, used, usage: inquiry.script.usage });
}

interface Heard {
  readonly text: string;
  readonly seconds: number;
  readonly task: 'transcribe' | 'translate';
  readonly tokens: readonly number[];
  readonly used: object;
  readonly usage: boolean;
}

function inFormat(format: (typeof FORMATS)[number], heard: Heard): Reply {
  const { text, seconds, task } = heard;
  const lasting = { type: 'duration', seconds: Math.ceil(seconds) };
  switch (format) {
    case 'text':
      return plain(`${text}\n`);
    case 'srt':
      return plain(`1\n${stamp(0, ',')} --> ${stamp(seconds, ',')}\n${text}\n\n`);
    case 'vtt':
      return plain(`WEBVTT\n\n${stamp(0, '.')} --> ${stamp(seconds, '.')}\n${text}\n\n`);
    case 'verbose_json':
      return jsonReply({
        task,
        language: 'english',
        duration: seconds,
        text,
        segments: [
          {
            id: 0,
            seek: 0,
            start: 0,
            end: seconds,
            text,
            tokens: heard.tokens,
            temperature: 0,
            avg_logprob: -0.1,
            compression_ratio: 1,
            no_speech_prob: 0,
          },
        ],
        ...(heard.usage ? { usage: lasting } : {}),
      });
    case 'diarized_json':
      return jsonReply({
        task,
        duration: seconds,
        text,
        segments: [
          { type: 'transcript.text.segment', id: 'seg_0', start: 0, end: seconds, speaker: 'A', text },
        ],
        ...heard.used,
      });
    default:
      return jsonReply({ text, ...heard.used });
  }
}

function formatOf(form: Form): (typeof FORMATS)[number] {
  const asked = form.fields.get('response_format')?.[0] ?? 'json';
  return read(z.looseObject({ response_format: z.enum(FORMATS) }), { response_format: asked })
    .response_format;
}

function describe(file: NonNullable<Form['file']>, seconds: number): string {
  const mark = hash32(Buffer.from(file.bytes).toString('latin1')).toString(16).padStart(8, '0');
  return (
    `This is the sandbox: it does not listen. The file ${file.name.slice(0, 100)} has ${file.bytes.length} bytes, ` +
    `about ${seconds.toFixed(1)} seconds, and the fingerprint ${mark}.`
  );
}

function plain(text: string): Reply {
  return { kind: 'whole', status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: text };
}

function sse(event: object): string {
  return `data: ${JSON.stringify(event)}\n\n`;
}

function stamp(seconds: number, mark: ',' | '.'): string {
  const time = new Date(Math.round(seconds * 1000)).toISOString().slice(11, 23);
  return mark === ',' ? time.replace('.', ',') : time;
}
