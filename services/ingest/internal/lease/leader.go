package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// leaseSubject is where a plain publish refreshes the key: the KV API takes a TTL only on Create and Purge.
const leaseSubject = "$KV." + subject.KVLeader + "." + subject.KeyLease

// bucket opens LEADER and makes it when missing.
func (l *Lease) bucket(ctx context.Context) error {
	if l.kv != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	kv, err := l.o.JetStream.KeyValue(ctx, subject.KVLeader)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = l.o.JetStream.CreateKeyValue(ctx, l.config())
		if errors.Is(err, jetstream.ErrBucketExists) {
			return nil // another ingest was faster; found at the next try
		}
		if err == nil {
			l.o.Log.Info("KV store made", "store", subject.KVLeader, "replicas", l.o.Replicas)
		}
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", subject.KVLeader, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return fmt.Errorf("open %s: %w", subject.KVLeader, err)
	}
	if status.Config().Replicas != l.o.Replicas {
		if kv, err = l.o.JetStream.UpdateKeyValue(ctx, l.config()); err != nil {
			return fmt.Errorf("update %s: %w", subject.KVLeader, err)
		}
	}
	l.kv = kv
	return nil
}

func (l *Lease) config() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:         subject.KVLeader,
		Description:    "Tickfan: which ingest stamps, and in which epoch",
		History:        1,
		LimitMarkerTTL: markers,
		Storage:        jetstream.FileStorage,
		Replicas:       l.o.Replicas,
	}
}

// missed forgets LEADER when the error may mean that it is gone, so that it is looked up, and made, again.
func (l *Lease) missed(err error) error {
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) {
		l.kv = nil
	}
	return err
}

// try takes the lease if nobody has it; else it names the holder.
func (l *Lease) try(ctx context.Context) (rev uint64, holder string, err error) {
	if err := l.bucket(ctx); err != nil {
		return 0, "", err
	}
	if l.kv == nil {
		return 0, "", errors.New("another ingest is just making " + subject.KVLeader)
	}
	rev, v, err := l.lease(ctx)
	switch {
	case err == nil && v.Instance == l.o.Instance && rev > l.past:
		return rev, "", nil // we made it and the answer was lost
	case err == nil && v.Instance == l.o.Instance: // a lagging replica's, or what could not be given back
		return 0, "an earlier term of this ingest", nil
	case err == nil:
		return 0, v.Instance, nil
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, "", fmt.Errorf("read lease: %w", l.missed(err))
	}
	rev, err = l.create(ctx, 0)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return 0, "an ingest that was faster", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("make lease: %w", l.missed(err))
	}
	return rev, "", nil
}

// lease reads the key; the error is jetstream.ErrKeyNotFound also when it was deleted or has run out.
func (l *Lease) lease(ctx context.Context) (rev uint64, v control.LeaderLease, err error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	e, err := l.kv.Get(ctx, subject.KeyLease)
	if err != nil {
		return 0, v, err
	}
	if json.Unmarshal(e.Value(), &v) != nil || v.Instance == "" {
		v.Instance = "an unknown instance" // somebody's, and the TTL frees it
	}
	return e.Revision(), v, nil
}

// create makes the key, which must not exist.
func (l *Lease) create(ctx context.Context, epoch uint64) (rev uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	return l.kv.Create(ctx, subject.KeyLease, l.value(epoch), jetstream.KeyTTL(l.o.TTL))
}

func (l *Lease) value(epoch uint64) []byte {
	p, err := json.Marshal(control.LeaderLease{Instance: l.o.Instance, Epoch: epoch})
	if err != nil {
		panic(err) // a string and a number
	}
	return p
}

// refresh makes the key live on, if it is still the one of revision rev.
func (l *Lease) refresh(ctx context.Context, rev, epoch uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	ack, err := l.o.JetStream.PublishMsg(ctx, &nats.Msg{Subject: leaseSubject, Data: l.value(epoch)},
		jetstream.WithExpectLastSequencePerSubject(rev), jetstream.WithMsgTTL(l.o.TTL), jetstream.WithRetryAttempts(0))
	if err != nil {
		return rev, err
	}
	return ack.Sequence, nil
}

// wrongRevision tells that the key has another revision than expected, or is gone. Replicated streams have a code of
// their own for it.
func wrongRevision(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// epoch reads the key.
func (l *Lease) epoch(ctx context.Context) (rev, epoch uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	e, err := l.kv.Get(ctx, subject.KeyEpoch)
	if err != nil {
		return 0, 0, err
	}
	var v control.LeaderEpoch
	if err := json.Unmarshal(e.Value(), &v); err != nil {
		l.warn("key epoch is no epoch and is written again", err)
	}
	return e.Revision(), v.Epoch, nil
}

// writeEpoch writes the key, which must be of revision rev, or must not exist if that is 0.
func (l *Lease) writeEpoch(ctx context.Context, rev, epoch uint64) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	p, err := json.Marshal(control.LeaderEpoch{Epoch: epoch})
	if err != nil {
		return err
	}
	if rev == 0 {
		_, err = l.kv.Create(ctx, subject.KeyEpoch, p)
	} else {
		_, err = l.kv.Update(ctx, subject.KeyEpoch, p, rev)
	}
	return err
}
