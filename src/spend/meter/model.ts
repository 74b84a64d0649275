// The ways in which a call's usage is read.

export type Meter =
  | 'chat'
  | 'completions'
  | 'responses'
  | 'embeddings'
  | 'images'
  | 'speech'
  | 'transcription'
  | 'moderations'
  /** Nothing is billed for it. */
  | 'none';
