package users

import (
	"context"

	"edge/sessions"
)

// ChangePassword implements sessions.Users.
func (s *Store) ChangePassword(ctx context.Context, name, current, password string) (sessions.User, error) {
	user, err := s.Verify(ctx, name, current)
	if err != nil {
		return sessions.User{}, err
	}
	if err := s.SetPassword(ctx, user.Name, password); err != nil {
		return sessions.User{}, err
	}
	return s.Get(ctx, user.Name)
}
